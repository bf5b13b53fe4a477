"""What a configured account means to the core and to the broker."""

from __future__ import annotations

from types import MappingProxyType

import pytest

from sipcli.config import AccountConfig, Config, PolicyConfig, ProviderConfig, RealmConfig
from sipcli.sip.syntax.uri import SipUri
from sipcli.ua.auth.chain import Chain
from sipcli.ua.auth.terms import auth_policy, chain_for, profile_of, wait_limit


def account(**fields: object) -> AccountConfig:
    return AccountConfig.for_aor("sip:alice@example.com", name="work", **fields)


def test_T20_the_contact_is_one_that_nobody_guesses() -> None:
    first, second = profile_of(account()), profile_of(account())
    assert first.contact_user != second.contact_user
    assert (first.name, str(first.aor), str(first.registrar)) == ("work", "sip:alice@example.com", "sip:example.com")


@pytest.mark.parametrize(
    ("least", "allowed"),
    [
        (None, ("SHA-512-256", "SHA-256", "MD5")),
        ("MD5", ("SHA-512-256", "SHA-256", "MD5")),
        ("SHA-256", ("SHA-512-256", "SHA-256")),
        ("SHA-512-256", ("SHA-512-256",)),
    ],
)
def test_the_weakest_algorithm(least: str | None, allowed: tuple[str, ...]) -> None:
    assert auth_policy(account(policy=PolicyConfig(min_algorithm=least)), Config(), None).algorithms == allowed


@pytest.mark.parametrize(
    ("schemes", "allowed", "prefer"),
    [
        (None, ("digest", "bearer"), ()),
        (("bearer", "digest"), ("bearer", "digest"), ("bearer", "digest")),
        (("digest",), ("digest",), ("digest",)),
    ],
)
def test_A28_the_schemes_of_the_configuration_are_allowed_and_in_order(
    schemes: tuple[str, ...] | None, allowed: tuple[str, ...], prefer: tuple[str, ...]
) -> None:
    policy = auth_policy(account(policy=PolicyConfig(schemes=schemes)), Config(), None)
    assert (policy.schemes, policy.prefer) == (allowed, prefer)


def test_the_ceiling_is_above_the_longest_wait() -> None:
    sso = Config(providers=MappingProxyType({"sso": ProviderConfig(name="sso", type="oauth")}))
    assert auth_policy(account(), Config(), None).token_ceiling == 180
    assert auth_policy(account(), Config(), 600).token_ceiling == 630
    assert auth_policy(account(policy=PolicyConfig(max_wait=300)), Config(), None).token_ceiling == 330
    assert auth_policy(account(credentials=("sso",)), sso, None).token_ceiling == 1830
    assert auth_policy(account(credentials=("sso",)), sso, 60).token_ceiling == 180
    assert auth_policy(account(), Config(), 5, brokered=False).token_ceiling == 5
    assert auth_policy(account(), Config(), None, brokered=False).token_ceiling == 180


def test_max_wait_of_the_command_line_wins() -> None:
    assert wait_limit(PolicyConfig(max_wait=7), None) == 7
    assert wait_limit(PolicyConfig(max_wait=7), 9) == 9


def test_realms_and_the_outbound_proxy() -> None:
    realms = MappingProxyType({"proxy.example.com": RealmConfig(username="alice.trunk", credentials=("vault",))})
    plain = auth_policy(account(realms=realms, policy=PolicyConfig(realms=("a", "b"))), Config(), None)
    assert plain.realms == {"a", "b", "proxy.example.com"} and plain.proxy_realms == frozenset()
    proxied = auth_policy(account(realms=realms, proxy=SipUri.parse("sip:edge.example.com;lr")), Config(), None)
    assert proxied.proxy_realms == {"proxy.example.com"}


def test_each_realm_has_its_chain() -> None:
    realms = MappingProxyType(
        {"trunk": RealmConfig(username="alice.trunk", credentials=("vault",)), "named": RealmConfig(username="al")}
    )
    config = Config(
        providers=MappingProxyType({"vault": ProviderConfig(name="vault", type="vault", options={"required": True})})
    )
    mine = account(realms=realms, credentials=("keychain", "prompt"))
    assert chain_for(mine, config, "anything") == Chain("alice", ("keychain", "prompt"))
    assert chain_for(mine, config, "trunk") == Chain("alice.trunk", ("vault",), frozenset({"vault"}))
    assert chain_for(mine, config, "named") == Chain("al", ("keychain", "prompt"))
