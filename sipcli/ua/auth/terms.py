"""What a configured account means to the core and to the broker: profile, policy, chain, terms."""

from __future__ import annotations

import secrets

from sipcli.config import AccountConfig, Config, PolicyConfig, ProviderConfig
from sipcli.sip.auth import AuthPolicy
from sipcli.sip.authn.challenge import AKA
from sipcli.sip.profile import AccountProfile
from sipcli.ua.auth.chain import FETCH_WAIT, PROMPT_WAIT, Chain, Terms
from sipcli.ua.auth.rations import PROMPT_BURST
from sipcli.ua.instance import Instance

__all__ = ["auth_policy", "chain_for", "for_person", "profile_of", "prompt_burst", "turn_chain", "wait_limit"]

_ALGORITHMS = ("SHA-512-256", "SHA-256", "MD5")
"""The strongest first (RFC 7616 section 3.7)."""
_NO_REALMS: frozenset[str] = frozenset()
_CEILING = 180.0
_DEVICE_CODE_LIFE = 1800.0
"""What an authorization server lets a device code live at most, in practice (RFC 8628 section 3.2 sets no limit)."""


def profile_of(config: AccountConfig, phone: Instance | None = None) -> AccountProfile:
    """The account as the core knows it, with a contact that no stranger can guess (threat T20).

    *phone* is who we are among its devices; it is asked only where *config* wants it to be told.
    """
    named = phone is not None and (config.outbound or config.gruu)
    return AccountProfile(
        name=config.name,
        aor=config.aor,
        registrar=config.registrar,
        proxy=config.proxy,
        display_name=config.display_name,
        contact_user=f"sipcli-{secrets.token_hex(6)}",
        expires=config.expires,
        transport=config.transport,
        shared_auth=config.shared_auth,
        instance=phone.urn(str(config.aor)) if phone is not None and named else "",
        outbound="auto" if config.outbound == "auto" else "on" if config.outbound else "off",
        gruu=config.gruu,
        reliable=config.reliable,
        register_headers=config.register_headers,
    )


def auth_policy(
    config: AccountConfig, providers: Config, max_wait: float | None, *, brokered: bool = True
) -> AuthPolicy:
    """The account's policy.

    The core's ceiling is above the longest wait that the broker may grant; where
    the program itself answers, nobody else keeps ``max_wait``, so it is the ceiling.
    """
    policy = config.policy
    limit = wait_limit(policy, max_wait)
    ceiling = max(_CEILING, _longest_wait(config, providers, limit) + 30.0)
    if not brokered and limit is not None:
        ceiling = limit
    algorithms: tuple[str, ...] = _ALGORITHMS
    if policy.min_algorithm in _ALGORITHMS:
        algorithms = _ALGORITHMS[: _ALGORITHMS.index(policy.min_algorithm) + 1]
    own_realms = frozenset(config.realms) if config.realms else _NO_REALMS
    return AuthPolicy(
        max_attempts=policy.max_attempts,
        max_stale=policy.max_stale,
        schemes=policy.schemes or ("digest", "bearer"),
        prefer=policy.schemes or (),
        algorithms=algorithms + _aka_signed(config, providers),
        # Who gives a realm its own table has said that it is the account's.
        realms=None if policy.realms is None else frozenset((*policy.realms, *config.realms)),
        own_realms=own_realms,
        realm_change=policy.realm_change,
        min_qop=policy.min_qop,
        # RFC 3261 section 22.3: only the configured outbound proxy's own realms reach across dialogs.
        proxy_realms=own_realms if config.proxy is not None else _NO_REALMS,
        token_ceiling=ceiling,
        late_answer=policy.late_answer,
        md5_over_udp=policy.md5_over_udp,
    )


def chain_for(config: AccountConfig, providers: Config, realm: str) -> Chain:
    """Whom to ask for *realm*: its own table's providers and user name where there is one, else the account's."""
    own = config.realms.get(realm)
    names = own.credentials if own is not None and own.credentials else config.credentials
    username = own.username if own is not None and own.username else config.username
    return Chain(username or None, names, _required(names, providers), config.keepers)


def turn_chain(config: AccountConfig, providers: Config, _realm: str) -> Chain:
    """Whom to ask for the account's TURN server, whatever realm it names."""
    names = config.turn_credentials
    return Chain(config.turn_username or config.username or None, names, _required(names, providers))


def _required(names: tuple[str, ...], providers: Config) -> frozenset[str]:
    return frozenset(
        name for name in names if name in providers.providers and providers.providers[name].options.get("required")
    )


def for_person(terms: Terms, realms: frozenset[str], providers: Config) -> Terms:
    """*terms* under which nobody but a person at the prompt answers *realms*."""
    if not realms:
        return terms

    def chain(realm: str) -> Chain:
        usual = terms.chain(realm)
        asking = tuple(name for name in usual.providers if _type_of(name, providers) == "prompt")
        return usual._replace(providers=asking) if realm in realms else usual

    return terms._replace(chain=chain)


def _type_of(name: str, providers: Config) -> str:
    known = providers.providers.get(name)
    return name if known is None else known.type


def prompt_burst(policy: PolicyConfig) -> int:
    """How many prompts one server may cause at once: whoever allows more for one action is not held to less."""
    return max(PROMPT_BURST, policy.max_prompts)


def wait_limit(policy: PolicyConfig, max_wait: float | None) -> float | None:
    """``--max-wait`` over ``[policy] max_wait``."""
    return policy.max_wait if max_wait is None else max_wait


def _longest_wait(config: AccountConfig, providers: Config, limit: float | None) -> float:
    if limit is not None:
        return limit
    kinds = {provider.type for provider in _providers_of(config, providers)}
    return _DEVICE_CODE_LIFE if "oauth" in kinds else FETCH_WAIT + PROMPT_WAIT


def _aka_signed(config: AccountConfig, providers: Config) -> tuple[str, ...]:
    """Which of AKA's algorithms some provider of the account signs: all for a SIM, else what its table names."""
    named: set[str] = set()
    for provider in _providers_of(config, providers):
        listed = provider.options.get("algorithms", ())
        named.update(AKA if provider.type == "sim" else (name for name in listed if isinstance(name, str)))
    return tuple(name for name in AKA if name in named)


def _providers_of(config: AccountConfig, providers: Config) -> list[ProviderConfig]:
    """The tables of everybody who may be asked for this account."""
    names = {*config.credentials, *(name for realm in config.realms.values() for name in realm.credentials)}
    return [providers.providers[name] for name in sorted(names) if name in providers.providers]
