"""Who is calling, and whom: from the words on the command line and the configuration to accounts and URIs."""

from __future__ import annotations

import os
from dataclasses import replace
from typing import Any

from sipcli.cli.parameters import GlobalOptions
from sipcli.config import AccountConfig, Config, ProviderConfig
from sipcli.config.model import parse_aor, parse_server, server_of
from sipcli.errors import ConfigError, ParseError
from sipcli.sip.syntax.uri import SipUri, user_for

__all__ = ["PASSWORD_FILE", "choose_account", "customise", "listener", "server_only", "target_uri"]

PASSWORD_FILE = "password-file"  # noqa: S105  # a provider's name
"""The provider that ``--password-file`` makes, as the only one that is asked."""


def choose_account(config: Config, name: str | None, text: str | None = None) -> AccountConfig:
    """The account that *text* (an address, or a name) or *name* (``--account``) means; else the default one.

    Raises ConfigError when nothing says who we are.
    """
    if text is not None and name is None:
        return _by_text(config, text)
    wanted = name or config.default_account
    if wanted is not None:
        account = config.accounts.get(wanted) or _by_text(config, wanted)
        return account if text is None else _same_person(account, text)
    if len(config.accounts) == 1:
        return next(iter(config.accounts.values()))
    if config.accounts:
        raise ConfigError(
            "which account? The configuration has " + ", ".join(config.accounts),
            hint="add --account NAME, or set account in [defaults]",
        )
    raise ConfigError(
        "there is no account",
        hint="say who you are (--account sip:you@example.com), or write one: sipcli config init",
    )


def _by_text(config: Config, text: str) -> AccountConfig:
    if text in config.accounts:
        return config.accounts[text]
    if "@" not in text:
        from sipcli.config.load import near

        known = near(text, config.accounts)
        raise ConfigError(f"there is no account “{text}”", hint=known or "write an address, or: sipcli config init")
    aor = parse_aor(text)
    for account in config.accounts.values():
        if account.aor.equivalent(aor.aor):
            return account
    return AccountConfig.for_aor(text)


def _same_person(account: AccountConfig, text: str) -> AccountConfig:
    """``--account work sip:other@example.com``: that account's settings under another address."""
    given = parse_aor(text)
    return account if account.aor.equivalent(given.aor) else replace(account, aor=given.aor)


def customise(
    config: Config, account: AccountConfig, options: GlobalOptions, said: dict[str, Any]
) -> tuple[Config, AccountConfig]:
    """*account* as the options of this run want it, and a configuration that holds it.

    *said* are the verb's own options: transport, registrar, proxy, username, expires, password_file.
    """
    changes: dict[str, Any] = {
        key: said[key] for key in ("transport", "username", "expires") if said.get(key) is not None
    }
    if "username" in changes and (not changes["username"].strip() or not changes["username"].isprintable()):
        raise ConfigError("--username is empty, or holds a control character", hint="leave it out, or write it anew")
    for key in ("registrar", "proxy"):
        if said.get(key):
            changes[key] = parse_server(said[key])
    if options.ca is not None:
        changes["ca_file"] = authorities = options.ca.expanduser().absolute()
        if not os.access(authorities, os.R_OK):
            raise ConfigError(f"{authorities} cannot be read", hint="--ca names a file of certificates, in PEM")
    if said.get("password_file"):
        path = said["password_file"]
        check_password_file(path)
        config = config.with_provider(ProviderConfig(name=PASSWORD_FILE, type="file", options={"path": path}))
        changes["credentials"] = (PASSWORD_FILE,)
        changes["keepers"] = tuple(dict.fromkeys((*account.credentials, "keychain")))
    changes["register_headers"] = tuple(said.get("register_headers") or ())
    follows = {key: said[key] for key in ("transfer", "redirect") if said.get(key)}
    config = replace(config, policy=replace(config.policy, **follows))  # for calls of no account, too
    changes["policy"] = replace(account.policy, **follows)
    if said.get("insecure_any_realm"):
        changes["policy"] = replace(changes["policy"], realms=None, realm_change="allow")
    account = replace(account, **changes)
    return config.with_account(account), account


def check_password_file(path: str) -> None:
    """Raises ConfigError where ``--password-file`` names nothing that can be read.

    Whether a descriptor of our own can (``<(pass show sip)``) is known when it is read: a process that is not dumpable
    may not look at its own /proc/self/fd.
    """
    ours = path == "-" or path.startswith(("/dev/fd/", "/dev/stdin", "/proc/self/fd/"))
    if not ours and not os.access(path, os.R_OK):
        raise ConfigError(f"{path} cannot be read", hint="name the file that holds the password, or - for stdin")


def server_only(target: SipUri) -> AccountConfig:
    """Nobody in particular: for a ping that needs no account.  It has no secret, and asks for none."""
    return AccountConfig(
        name="anonymous",
        # RFC 3323 section 4.1.1.3: the address of somebody who has none.
        aor=SipUri.parse("sip:anonymous@anonymous.invalid"),
        registrar=server_of(target),
        username="anonymous",
        credentials=(),
        register=False,
    )


def listener() -> AccountConfig:
    """Nobody in particular, who takes calls on a port: ``listen --no-register --port N`` without a configuration."""
    somewhere = SipUri.parse("sip:sipcli@anonymous.invalid")
    return AccountConfig(
        name="listener",
        aor=somewhere,
        registrar=server_of(somewhere),
        username="sipcli",
        credentials=(),
        register=False,
    )


def target_uri(text: str, account: AccountConfig | None) -> SipUri:
    """What a person dials: a URI, ``bob@example.com``, a bare name or number at our own domain, ``tel:+4930123``.

    Raises ConfigError.
    """
    word = text.strip()
    if word.lower().startswith("tel:"):
        word = word[4:]
    elif word.lower().startswith(("sip:", "sips:")):
        return _parsed(text, word)
    elif "@" in word:
        return _parsed(text, f"sip:{word}")
    if account is None:
        return _parsed(text, f"sip:{word}")
    if not (user := user_for(word)):
        raise ConfigError("there is nobody to call", hint="write it as sip:bob@example.com")
    return account.aor.replace(user=user, password=None)


def _parsed(text: str, uri: str) -> SipUri:
    try:
        return SipUri.written(uri)
    except ParseError as error:
        if error.hint is not None:  # it holds a password, and is not repeated
            raise ConfigError(str(error), hint=error.hint) from None
        raise ConfigError(f"“{text}” cannot be dialled: {error}", hint="write it as sip:bob@example.com") from None
