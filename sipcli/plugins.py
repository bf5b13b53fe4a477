"""Finds the provider that a configuration names, and loads nothing else.

A built-in type is looked up in :data:`BUILTIN` and its module imported when
the provider is made (on a worker: hvac alone takes 115 ms).  Only a type that
is not built in makes us look at the entry points of group ``sipcli.providers``,
and only the one that was asked for is loaded: an installed distribution that
nobody named in the configuration never runs, and none can take a built-in's
name (keyring, for one, loads every backend it finds).
"""

from __future__ import annotations

import difflib
import importlib
import logging
import traceback
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NoReturn

from sipcli.credentials import (
    CredentialProvider,
    CredentialRequest,
    Describes,
    ProviderContext,
    Terminal,
    Unavailable,
)
from sipcli.errors import ConfigError

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

__all__ = ["BUILTIN", "GROUP", "BrokenProvider", "ProviderInfo", "describe", "load_provider", "make_provider", "where"]

log = logging.getLogger(__name__)

GROUP = "sipcli.providers"

BUILTIN: Mapping[str, str] = {
    "askpass": "sipcli_providers.askpass:AskpassProvider",
    "env": "sipcli_providers.env:EnvProvider",
    "exec": "sipcli_providers.exec:ExecProvider",
    "file": "sipcli_providers.file:FileProvider",
    "keychain": "sipcli_providers.keychain:KeychainProvider",
    "oauth": "sipcli_providers.oauth:OAuthProvider",
    "prompt": "sipcli_providers.prompt:PromptProvider",
    "sim": "sipcli_providers.sim:SimProvider",
    "systemd": "sipcli_providers.systemd:SystemdProvider",
    "vault": "sipcli_providers.vault:VaultProvider",
}

# Keys of a [providers.NAME] table that belong to the chain, not to the provider.
_CHAIN_KEYS = frozenset({"type", "required"})


@dataclass(frozen=True, slots=True, kw_only=True)
class ProviderInfo:
    """One type that a configuration may name.  *problem* is None, or why it cannot be used."""

    type: str
    target: str
    distribution: str
    builtin: bool
    problem: str | None = None


class BrokenProvider:
    """Stands in for a provider that could not be made, so that the chain goes on without it.

    *problem* is the sentence that ``config check``, ``providers list`` and
    ``doctor`` show; :meth:`get` raises it as :class:`Unavailable`.
    """

    interactive = False

    def __init__(self, name: str, problem: str) -> None:
        self.name = name
        self.problem = problem

    def get(self, request: CredentialRequest) -> NoReturn:
        # "Not before an hour": within one challenge nothing mends it, so the chain goes on at once.
        raise Unavailable(self.problem, retry_after=3600.0)

    def describe(self) -> str:
        return self.problem


def make_provider(
    name: str, config: Mapping[str, Any], terminal: Terminal, http_timeout: float = 10.0
) -> CredentialProvider:
    """The provider called *name*; a :class:`BrokenProvider` instead of any error.

    *config* is its ``[providers.NAME]`` table.  Without ``type`` the name is
    the type, so that ``credentials = ["keychain"]`` needs no table.
    """
    try:
        return load_provider(name, config, terminal, http_timeout)
    except ConfigError as error:
        return BrokenProvider(name, str(error))


def load_provider(
    name: str, config: Mapping[str, Any], terminal: Terminal, http_timeout: float = 10.0
) -> CredentialProvider:
    """Like :func:`make_provider`, but raises :class:`ConfigError` with the one sentence."""
    kind = str(config.get("type", name))
    target, distribution = _target(name, kind)
    options = {key: value for key, value in config.items() if key not in _CHAIN_KEYS}
    context = ProviderContext(name=name, options=options, terminal=terminal, http_timeout=http_timeout)
    try:
        provider = _resolve(target)(context)
    except ValueError as error:  # the factory's sentence about its options
        raise ConfigError(str(error)) from error
    except ImportError as error:
        raise ConfigError(
            f'[providers.{name}] type "{kind}" of {distribution} cannot be imported ({error}); reinstall {distribution}'
        ) from error
    except (Exception, SystemExit) as error:  # sys.exit() at import ends a program, and must not end ours
        # The frames, not the message: an exception's text may quote a secret.
        frames = "".join(traceback.format_tb(error.__traceback__))
        log.debug("provider %s failed to start: %s\n%s", name, type(error).__name__, frames)
        raise ConfigError(
            f'[providers.{name}] type "{kind}" of {distribution} failed to start: {type(error).__name__}'
        ) from None
    if not callable(getattr(provider, "get", None)):
        raise ConfigError(
            f'[providers.{name}] type "{kind}" of {distribution} is no credential provider: it has no get()'
        )
    made: CredentialProvider = provider
    return made


def describe() -> list[ProviderInfo]:
    """Every type that could be named, built-in ones first.  Loads none of them."""
    ours = [
        ProviderInfo(type=kind, target=target, distribution="sipcli", builtin=True)
        for kind, target in sorted(BUILTIN.items())
    ]
    theirs = [point for point in _entry_points() if point.name not in BUILTIN]
    return ours + [_third_party(point, theirs) for point in sorted(theirs, key=lambda point: point.name)]


def where(provider: CredentialProvider) -> str:
    """One line about where *provider* would look, without asking it for a secret.  Raises nothing."""
    module = type(provider).__module__
    if not isinstance(provider, Describes):
        return module
    try:
        return provider.describe()
    except Exception as error:  # its words are not repeated, for they may quote a secret
        return f"it is broken: it raised {type(error).__name__} when asked where it looks ({module})"


def _third_party(point: EntryPoint, all_points: Iterable[EntryPoint]) -> ProviderInfo:
    rivals = sorted({_distribution(p) for p in all_points if p.name == point.name} - {_distribution(point)})
    return ProviderInfo(
        type=point.name,
        target=point.value,
        distribution=_distribution(point),
        builtin=False,
        problem=f"{', '.join(rivals)} offers the same type: uninstall one" if rivals else None,
    )


def _target(name: str, kind: str) -> tuple[str, str]:
    """``module:factory`` of a type, and the distribution it comes from."""
    if kind in BUILTIN:
        return BUILTIN[kind], "sipcli"
    points = list(_entry_points())
    found = [point for point in points if point.name == kind]
    if len({point.value for point in found}) > 1:
        rivals = " and ".join(sorted(_distribution(point) for point in found))
        raise ConfigError(f'[providers.{name}] type "{kind}" is offered by {rivals}: uninstall one of them')
    if found:
        return found[0].value, _distribution(found[0])
    near = difflib.get_close_matches(kind, [*BUILTIN, *(point.name for point in points)], n=1)
    meant = f'; did you mean "{near[0]}"?' if near else f"; there are {', '.join(sorted(BUILTIN))}"
    raise ConfigError(f'[providers.{name}] type "{kind}" is not known{meant}')


def _resolve(target: str) -> Any:
    module, _, attribute = target.partition(":")
    found: Any = importlib.import_module(module)
    for part in attribute.split("."):
        found = getattr(found, part)
    return found


def _entry_points() -> Iterable[EntryPoint]:
    from importlib.metadata import entry_points  # 20 ms: only for types that are not ours

    return entry_points(group=GROUP)


def _distribution(point: EntryPoint) -> str:
    return f"{point.dist.name} {point.dist.version}" if point.dist is not None else "an unknown distribution"
