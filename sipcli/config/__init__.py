"""The configuration: TOML in, frozen dataclasses out; every mistake names file, table, key and the nearest right one.

::

    model.py      what a configuration is          Config, AccountConfig, ProviderConfig, PolicyConfig, AudioConfig…
    load.py       finding, reading, judging it     load_config(), default_config_path()
    schema.py     which keys there are
    secrets.py    what must not be in it, and who may write it
    example.py    config.example.toml, as ``sipcli config init`` writes it
"""

from __future__ import annotations

from sipcli.config.load import ConfigProblems, Problem, default_config_path, load_config, parse_config
from sipcli.config.model import AccountConfig, AudioConfig, Config, PolicyConfig, ProviderConfig, RealmConfig

__all__ = [
    "AccountConfig",
    "AudioConfig",
    "Config",
    "ConfigProblems",
    "PolicyConfig",
    "Problem",
    "ProviderConfig",
    "RealmConfig",
    "default_config_path",
    "load_config",
    "parse_config",
]
