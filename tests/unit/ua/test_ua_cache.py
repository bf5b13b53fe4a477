"""What is kept of secrets and of refusals, and for how long."""

from __future__ import annotations

from sipcli.ua.auth.cache import MAX_REFUSALS, REFUSAL_MEMORY, CacheKey, CredentialCache
from tests.support.authkit import password

KEY = CacheKey("work", "example.com", "example.com", "digest")


def test_T03_no_more_refusals_are_kept_than_a_person_makes() -> None:
    """The latest: a server that refuses without end must not make us grow, nor be sent again what it has just refused.

    Fails without the cut in ``CredentialCache.refuse``.
    """
    cache = CredentialCache(lambda: 0.0)
    secrets = [password(f"secret-{number}") for number in range(MAX_REFUSALS + 1)]
    for secret in secrets:
        cache.refuse(KEY, secret)
    assert [cache.was_refused(KEY, secret) for secret in secrets] == [False] + [True] * MAX_REFUSALS


def test_a_refusal_is_remembered_for_its_time_and_not_longer() -> None:
    now = 0.0
    cache = CredentialCache(lambda: now)
    cache.refuse(KEY, password("wrong"))
    now = REFUSAL_MEMORY - 0.1
    assert cache.was_refused(KEY, password("wrong"))
    now = REFUSAL_MEMORY
    assert not cache.was_refused(KEY, password("wrong"))
