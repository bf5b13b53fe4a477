"""Does what was given answer this challenge?  It goes to the realm it was asked for, and nowhere else."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable

from sipcli.credentials import (
    BearerCredentials,
    Credentials,
    Ha1Credentials,
    PasswordCredentials,
    SigningCredentials,
)
from sipcli.sip.authn.challenge import Challenge
from sipcli.sip.authn.digest import signs
from sipcli.ua.auth.cache import CacheKey

__all__ = ["ANSWERS", "bound_to", "flaw_of", "objection_to", "refuse_strangers"]

ANSWERS = (PasswordCredentials, Ha1Credentials, BearerCredentials, SigningCredentials)
"""What a provider may give; :class:`~sipcli.credentials.SignedCredentials` are made from it, for one sending."""


def objection_to(credentials: Credentials, challenge: Challenge, key: CacheKey) -> str | None:
    """Why *credentials* cannot answer *challenge*, in words for the person; None if they can."""
    if credentials.scheme != challenge.scheme:
        kind = "a token" if credentials.scheme == "bearer" else "a password"
        return f"it gave {kind}, and the server asks for {key.scheme}"
    if key.scheme == "aka" and not isinstance(credentials, SigningCredentials):
        return "it gave a password, and the server wants a SIM to answer"
    if (flaw := flaw_of(credentials)) is not None:
        return flaw
    if credentials.realm not in ("*", key.realm):
        return "what it gave is for another realm"
    if isinstance(credentials, SigningCredentials) and not signs(challenge, credentials):
        return f"its key does not sign {challenge.algorithm}"
    return None


def flaw_of(credentials: Credentials) -> str | None:
    """Why *credentials* answer nobody, whoever asks, in words for the person."""
    if not credentials.secret:
        return "what it gave is empty"
    if credentials.expires_in is not None and not credentials.expires_in > 0:  # NaN, which JSON may hold, is neither
        return "what it gave has expired"
    return None


def bound_to(credentials: Credentials, realm: str) -> Credentials:
    """*credentials* for this realm alone: two realms may be answered at once, and nothing may reach a third."""
    if credentials.realm != "*":
        return credentials
    if isinstance(credentials, PasswordCredentials):
        return PasswordCredentials(
            credentials.username, credentials.password, realm, credentials.expires_in, credentials.ref
        )
    if isinstance(credentials, BearerCredentials):
        return BearerCredentials(credentials.token, realm, credentials.expires_in, credentials.ref)
    if isinstance(credentials, SigningCredentials):
        return dataclasses.replace(credentials, realm=realm)
    return credentials  # an HA1 was computed with its realm


def refuse_strangers(given: Iterable[object]) -> None:
    """TypeError unless all of it is credentials: a plain password is everybody's first try, and must burn nothing."""
    for one in given:
        if not isinstance(one, Credentials):
            kind = type(one).__name__
            raise TypeError(
                f"the answer is PasswordCredentials(user, Secret(password)), or other credentials; no {kind}"
            )
