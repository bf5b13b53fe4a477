"""Finding, reading and judging the configuration file: every mistake at once, each with its place and the next step."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Mapping
from dataclasses import fields, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

from sipcli.config.iceserver import IceServer, parse_ice_server
from sipcli.config.model import (
    AccountConfig,
    AudioConfig,
    Config,
    PolicyConfig,
    ProviderConfig,
    RealmConfig,
    parse_aor,
    parse_server,
    server_of,
)
from sipcli.config.schema import (
    ACCOUNT,
    AUDIO,
    BUILTIN_TYPES,
    CHAIN_KEYS,
    DEFAULTS,
    POLICY,
    PROVIDER_KEYS,
    REALM,
    REQUIRED_PROVIDER_KEYS,
    TOP,
    WILDCARD_REALM,
    Rule,
)
from sipcli.config.secrets import RIGHT_PLACES, find_secrets, read_guarded
from sipcli.errors import ConfigError
from sipcli.sip.syntax.uri import SipUri

__all__ = ["ConfigProblems", "Problem", "default_config_path", "load_config", "parse_config"]


_TOML_HINTS = {
    "Illegal character '\\n'": "is a quote missing at the end of that line?",
    "Cannot declare": "a table stands there once, and each account needs a name of its own",
    "Cannot overwrite": "a key stands once in its table",
    "Invalid value": 'a text stands in quotes ("), and true and false are written small',
}
"""What people do wrong, by tomllib's words for it."""


class Problem(NamedTuple):
    """One mistake: *where* is the table and key as TOML writes them (``[accounts.work] aor``)."""

    where: str
    message: str
    hint: str | None = None

    def __str__(self) -> str:
        return f"{self.where}: {self.message}" + (f" \N{EN DASH} {self.hint}" if self.hint else "")


class ConfigProblems(ConfigError):
    """All mistakes of one file.  ``str()`` is one line for each."""

    def __init__(self, path: Path | None, problems: Iterable[Problem]) -> None:
        self.path = path
        self.problems = tuple(problems)
        name = str(path) if path else "the configuration"
        super().__init__(
            "\n".join(f"{name}: {problem}" for problem in self.problems),
            hint="correct it, and see that all is well: sipcli config check",
        )


def default_config_path(environ: Mapping[str, str] | None = None) -> Path | None:
    """Where the configuration is looked for: what ``click.get_app_dir("sipcli")`` says, plus ``config.toml``.

    None when there is no home to look in (no HOME, and no entry in the password file).
    """
    environ = os.environ if environ is None else environ
    if sys.platform == "darwin":
        folder = Path("~/Library/Application Support/sipcli")
    else:
        folder = Path(environ.get("XDG_CONFIG_HOME") or "~/.config") / "sipcli"
    try:
        path = (folder / "config.toml").expanduser()
    except RuntimeError:
        return None
    return path if path.is_absolute() else None


def load_config(path: Path | None = None, *, environ: Mapping[str, str] | None = None) -> Config:
    """Read *path*; without one ``$SIPCLI_CONFIG``, else the default place, where it may be missing.

    Raises ConfigError; :class:`ConfigProblems` lists every mistake of the file.
    """
    environ = os.environ if environ is None else environ
    named = path or (Path(environ["SIPCLI_CONFIG"]).expanduser() if environ.get("SIPCLI_CONFIG") else None)
    place = named or default_config_path(environ)
    if place is None:
        return Config()
    try:
        text = read_guarded(place)
    except FileNotFoundError:
        if named is None:
            return Config()
        raise ConfigError(f"{place} does not exist", hint=f"write one: sipcli --config {place} config init") from None
    return parse_config(text, place)


def parse_config(text: str, path: Path | None = None) -> Config:
    """Judge TOML *text*; *path* is named in messages, and relative file names are relative to its folder."""
    import tomllib  # 4 ms, and many have no configuration

    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        hint = next((hint for words, hint in _TOML_HINTS.items() if words in str(error)), None)
        raise ConfigProblems(path, [Problem("TOML", str(error), hint)]) from None
    except RecursionError:
        raise ConfigProblems(path, [Problem("TOML", "nested too deeply")]) from None
    reader = _Reader(path)
    config = reader.config(document)
    if reader.problems:
        raise ConfigProblems(path, reader.problems)
    return config


class _Reader:
    """One walk over one document, gathering problems instead of stopping at the first."""

    def __init__(self, path: Path | None) -> None:
        self.path = path
        self.problems: list[Problem] = []
        self.secret_places: set[tuple[str, ...]] = set()

    def config(self, document: dict[str, Any]) -> Config:
        for place, message in find_secrets(document):
            self.secret_places.add(place)
            self.problem(place[:-1], place[-1], message, RIGHT_PLACES)
        top = self.table((), document, TOP)
        policy = self.policy(("policy",), top.get("policy", {}), PolicyConfig())
        providers = {
            name: provider
            for name, table in self.named_tables("providers", top)
            if (provider := self.provider(name, table)) is not None
        }
        names = (*top.get("providers", {}), *BUILTIN_TYPES)
        accounts = {
            name: account
            for name, table in self.named_tables("accounts", top)
            if (account := self.account(name, table, policy, names)) is not None
        }
        if "keychain" not in providers and not _somebody_names("keychain", top):
            providers["keychain"] = ProviderConfig(
                name="keychain", type="keychain", options=MappingProxyType({"optional": True})
            )
        default = self.table(("defaults",), top.get("defaults", {}), DEFAULTS).get("account")
        if default is not None and default not in top.get("accounts", {}):
            self.problem(("defaults",), "account", f"there is no [accounts.{default}]", near(default, accounts))
        return Config(
            path=self.path,
            default_account=default,
            accounts=MappingProxyType(accounts),
            providers=MappingProxyType(providers),
            policy=policy,
            audio=self.audio(("audio",), top.get("audio", {})),
        )

    def audio(self, where: tuple[str, ...], table: Any) -> AudioConfig:
        values = self.table(where, table, AUDIO)
        if "ring_file" in values:
            values["ring_file"] = self.file(values["ring_file"])
        return AudioConfig(**values)

    def account(
        self, name: str, table: dict[str, Any], policy: PolicyConfig, providers: tuple[str, ...]
    ) -> AccountConfig | None:
        where = ("accounts", name)
        values = self.table(where, table, ACCOUNT)
        aor = self.uri(where, "aor", values, server=False)
        proxy = self.uri(where, "proxy", values)
        registrar = self.uri(where, "registrar", values)
        if isinstance(values.get("realms"), dict) and values["realms"].pop("*", None) is not None:
            self.problem(where, "realms", WILDCARD_REALM)
        realms = {
            realm: self.realm((*where, "realms", realm), inner, providers)
            for realm, inner in self.inner_tables((*where, "realms"), values.pop("realms", {}))
        }
        own_policy = self.policy((*where, "policy"), values.pop("policy", {}), policy)
        self.providers_exist(where, values, providers)
        if ("key_file" in values) != ("cert_file" in values):
            self.problem(where, "cert_file", "cert_file and key_file go together")
        if aor is None:
            return None
        settings: dict[str, Any] = {"username": aor.user_text or "", **values}
        for key in ("ca_file", "cert_file", "key_file"):
            if key in settings:
                settings[key] = self.file(settings[key])
        for key in ("stun", "turn"):
            if key in settings:
                settings[key] = self.ice_server(where, key, settings[key])
        if settings.get("ice") == "relay" and "turn" not in values:
            self.problem(where, "ice", "relay needs a TURN server", 'turn = "turn:turn.example.com"')
        if "turn_credentials" in settings:
            settings["turn_credentials"] = tuple(settings["turn_credentials"])
        if "codecs" in settings:
            settings["codecs"] = tuple(settings["codecs"])
        if "credentials" in settings:
            settings["credentials"] = tuple(settings["credentials"])
        if "100rel" in settings:
            settings["reliable"] = settings.pop("100rel")
        settings.update(
            name=name,
            aor=aor.aor,
            proxy=proxy,
            registrar=registrar or server_of(aor),
            realms=MappingProxyType(realms),
            policy=own_policy,
        )
        return AccountConfig(**settings)

    def realm(self, where: tuple[str, ...], table: dict[str, Any], providers: tuple[str, ...]) -> RealmConfig:
        values = self.table(where, table, REALM)
        self.providers_exist(where, values, providers)
        return RealmConfig(username=values.get("username"), credentials=tuple(values.get("credentials", ())))

    def policy(self, where: tuple[str, ...], table: Any, base: PolicyConfig) -> PolicyConfig:
        if not isinstance(table, dict):
            return base  # said already, by the table above it
        values = self.table(where, table, POLICY)
        if "realms" in values:
            values["realms"] = tuple(values["realms"])
        if "schemes" in values:
            values["schemes"] = tuple(values["schemes"])
        wanted = {field.name: values[field.name] for field in fields(PolicyConfig) if field.name in values}
        return replace(base, **wanted)

    def provider(self, name: str, table: dict[str, Any]) -> ProviderConfig | None:
        where = ("providers", name)
        kind = table.get("type", name if name in BUILTIN_TYPES else None)
        if not isinstance(kind, str):
            self.problem(where, "type", "is missing", "one of " + ", ".join(BUILTIN_TYPES) + ", or a plug-in's")
            return None
        options = {key: value for key, value in table.items() if key != "type"}
        known = PROVIDER_KEYS.get(kind)
        for key in options if known is not None else ():
            if key not in (known or ()) and key not in CHAIN_KEYS and (*where, key) not in self.secret_places:
                self.problem(where, key, "is not known here", near(key, known or ()))
        if not isinstance(options.get("required", False), bool):
            self.problem(where, "required", "must be true or false")
        for key in sorted(REQUIRED_PROVIDER_KEYS.get(kind, frozenset()) - options.keys()):
            self.problem(where, key, "is missing")
        return ProviderConfig(name=name, type=kind, options=MappingProxyType(self.with_files(kind, options)))

    def with_files(self, kind: str, options: dict[str, Any]) -> dict[str, Any]:
        """File names of *options* made absolute: ``…_file`` everywhere, and the ``path`` of a file provider."""
        found: dict[str, Any] = {}
        for key, value in options.items():
            if isinstance(value, dict):
                found[key] = self.with_files(kind, value)
            elif isinstance(value, str) and value != "-" and _names_file(kind, key):
                found[key] = str(self.file(value))
            else:
                found[key] = value
        return found

    def providers_exist(self, where: tuple[str, ...], values: dict[str, Any], providers: tuple[str, ...]) -> None:
        for key in ("credentials", "turn_credentials"):
            for name in values.get(key, ()):
                if name not in providers:
                    self.problem(where, key, f"there is no [providers.{name}]", near(name, providers))

    def ice_server(self, where: tuple[str, ...], key: str, text: str) -> IceServer | None:
        try:
            return parse_ice_server(text, "stun" if key == "stun" else "turn")
        except ConfigError as error:
            self.problem(where, key, str(error), error.hint)
            return None

    def uri(self, where: tuple[str, ...], key: str, values: dict[str, Any], *, server: bool = True) -> SipUri | None:
        text = values.pop(key, None)
        if text is None or (*where, key) in self.secret_places:
            return None
        try:
            return parse_server(text) if server else parse_aor(text)
        except ConfigError as error:
            self.problem(where, key, str(error), error.hint)
            return None

    def file(self, text: str) -> Path:
        try:
            path = Path(text).expanduser()
        except RuntimeError:  # "~" without a home
            path = Path(text)
        return path if path.is_absolute() or self.path is None else self.path.parent / path

    def table(self, where: tuple[str, ...], table: Any, rules: Mapping[str, Rule]) -> dict[str, Any]:
        """The good keys of *table*; the others become problems."""
        good: dict[str, Any] = {}
        if not isinstance(table, dict):
            return good
        for key, value in table.items():
            rule = rules.get(key)
            if (*where, key) in self.secret_places:
                continue
            if rule is None:
                self.problem(where, key, "is not known here", near(key, rules))
            elif (wrong := rule.check(value)) is not None:
                self.problem(where, key, wrong)
            else:
                good[key] = value
        for key, rule in rules.items():
            if rule.required and key not in table:
                self.problem(where, key, "is missing")
        return good

    def named_tables(self, kind: str, top: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
        return self.inner_tables((kind,), top.get(kind, {}))

    def inner_tables(self, where: tuple[str, ...], outer: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
        found: list[tuple[str, dict[str, Any]]] = []
        for name, table in outer.items():
            if not isinstance(table, dict):
                if (*where, name) not in self.secret_places:
                    self.problem(where, name, f"must be a table: [{dotted((*where, name))}]")
            elif not name or any(ord(c) < 32 or c == "\x7f" for c in name):
                self.problem(where, name, "is no usable name")
            else:
                found.append((name, table))
        return found

    def problem(self, where: tuple[str, ...], key: str, message: str, hint: str | None = None) -> None:
        place = f"[{dotted(where)}] {_key(key)}" if where else _key(key)
        self.problems.append(Problem(place, message, hint))


def _somebody_names(provider: str, top: dict[str, Any]) -> bool:
    tables = [table for table in top.get("accounts", {}).values() if isinstance(table, dict)]
    lists = [table.get(key) or () for table in tables for key in ("credentials", "turn_credentials")]
    return not tables or any(provider in names for names in lists)


def _names_file(kind: str, key: str) -> bool:
    return key.endswith("_file") or (kind == "file" and key == "path")


def dotted(where: tuple[str, ...]) -> str:
    """A table's name as TOML writes it: ``accounts.work.realms."proxy.example.com"``."""
    return ".".join(_key(part) for part in where)


def _key(key: str) -> str:
    bare = key != "" and key.isascii() and key.replace("_", "").replace("-", "").isalnum()
    return key if bare else '"' + key.encode("unicode_escape").decode().replace('"', '\\"') + '"'


def near(wrong: str, right: Iterable[str]) -> str | None:
    """“did you mean …?”, or the list when nothing is near."""
    import difflib  # only a mistake needs it

    names = sorted(right)
    close = difflib.get_close_matches(wrong, names, n=1, cutoff=0.65)
    if close:
        return f"did you mean “{close[0]}”?"
    return "known are " + ", ".join(names) if names else None
