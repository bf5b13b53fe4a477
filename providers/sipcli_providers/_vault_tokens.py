"""The token in use: renewed in time, obtained anew when it must be, and never asked for in a loop.

================================ ==================================================================
two thirds of its life are over  it is renewed; where that is no use (not renewable, at its maximum,
                                 refused), a login
that fails                       the token serves on while it lives; the next try after a jittered
                                 pause that doubles (Vault agent once looped without one:
                                 hashicorp/vault #26844), never before the server's ``Retry-After``
its life is over                 a login; a failed one is remembered for the same pause, so that
                                 forty waiting accounts cost one request and not forty
it is refused (403)              one login, for an expired token and a missing permission look alike
================================ ==================================================================

All lives are counted from the server's durations on our monotonic clock; no two
wall clocks are compared.  We look when a token is used.  Only a login that works
once (a wrapped token, a wrapped secret id) has its token kept alive by a thread,
for what ends then cannot be had again.
"""

from __future__ import annotations

import random
import threading
import time
import weakref
from collections.abc import Callable
from dataclasses import replace

import hvac
import hvac.exceptions

from sipcli.credentials import Denied, ProviderError, Unavailable
from sipcli_providers import _http
from sipcli_providers._vault_login import Lease, Login, lease_of, text_of

FIRST_PAUSE = 1.0
LONGEST_PAUSE = 60.0
"""Seconds between two tries while Vault fails; half of it, and more, is chance."""
_MOST_PATIENT = 300.0
"""What a server's ``Retry-After`` may make of a pause."""


class Tokens:
    """The token of one provider.  Logins are made one at a time; every method may block on the network.

    *connect* makes a client without a token; *explain* says what a login's
    exception means.  *clock* gives monotonic seconds.
    """

    def __init__(
        self, login: Login, connect: Callable[[], hvac.Client], explain: Callable[[Exception], ProviderError]
    ) -> None:
        self.clock = time.monotonic
        self.uniform = random.uniform
        self._login = login
        self._connect = connect
        self._explain = explain
        self._lock = threading.Lock()
        self._lease: Lease | None = None
        self._failures = 0
        self._not_before = 0.0
        self._error: ProviderError | None = None
        self._keeper: threading.Thread | None = None

    def current(self) -> Lease:
        """The token to use now: kept, renewed, or obtained."""
        with self._lock:
            lease = self._lease
            if lease is None or lease.borrowed or lease.is_over(self.clock()):
                return self._log_in()
            self._prolong_if_due(lease)
            return self._lease or lease

    def after(self, refused: Lease) -> Lease:
        """The token to use after *refused* was: another thread's newer one, a new login's, or *refused* itself.

        The last means that the token is good and may not do this.
        """
        with self._lock:
            if self._lease is not None and self._lease is not refused:
                return self._lease
            if self._login.once and self._is_alive(refused):
                return refused
            self._lease = None
            newer = self._log_in()
            if newer.token == refused.token and not self._is_alive(refused):
                raise self._login.ended()
            return newer

    def tend(self) -> float | None:
        """Renew if it is time to; seconds until it is worth looking again.

        None when nothing is left to keep, and the thread that kept it is done.
        """
        with self._lock:
            lease = self._lease
            if lease is not None and not lease.is_over(self.clock()):
                self._prolong_if_due(lease)
                lease = self._lease or lease
                if lease.ttl is not None:
                    return max(0.1, max(lease.due_at, self._not_before) - self.clock())
            # Under the same lock: whoever logs in from now on starts another thread.
            self._keeper = None
            return None

    # -- under the lock ---------------------------------------------------------------------------------------------

    def _log_in(self) -> Lease:
        mended = isinstance(self._error, Denied) and not self._error.stands()
        if self._error is not None and self.clock() < self._not_before and not mended:
            raise self._said_again(self._error)
        self._lease = None
        try:
            return self._obtain()
        except Exception as error:
            self._fail(error)
            raise self._explain(error) from error

    def _obtain(self) -> Lease:
        began = self.clock()  # before the exchange: a token must not seem younger than it is
        return self._take(replace(self._login.login(self._connect()), since=began))

    def _take(self, lease: Lease) -> Lease:
        self._lease = lease
        self._failures, self._not_before, self._error = 0, 0.0, None
        if self._login.once and lease.renewable and lease.ttl and self._keeper is None:
            self._keeper = _keep_alive(self)
        return lease

    def _prolong_if_due(self, lease: Lease) -> None:
        """What fails here fails in silence: the token lives, and only the next try has to wait."""
        now = self.clock()
        if not lease.is_due(now) or now < self._not_before:
            return
        try:
            if not (lease.renewable and self._renew(lease)):
                self._obtain()
        except Exception as error:
            self._fail(error)

    def _renew(self, lease: Lease) -> bool:
        """False when a login must follow, for Vault refuses, or gives only what is left to the token's maximum."""
        began = self.clock()
        client = self._connect()
        client.token = text_of(lease.token)
        try:
            renewed = replace(lease_of(client.auth.token.renew_self()), since=began)
        except (hvac.exceptions.Forbidden, hvac.exceptions.InvalidRequest):
            return False
        if lease.ttl and renewed.ttl and renewed.ttl <= lease.ttl / 3:
            self._lease = renewed if renewed.ttl > lease.left(began) else lease
            return False
        self._take(renewed)
        return True

    def _is_alive(self, lease: Lease) -> bool:
        """Policy ``default`` lets every living token look itself up."""
        client = self._connect()
        client.token = text_of(lease.token)
        try:
            client.auth.token.lookup_self()
        except hvac.exceptions.Forbidden:
            return False
        return True

    def _fail(self, error: Exception) -> None:
        explained = self._explain(error)
        if isinstance(error, ProviderError) and not isinstance(error, Unavailable):
            return  # a file of ours: it may be mended in a second, and looking at it costs nobody anything
        longest = min(LONGEST_PAUSE, FIRST_PAUSE * 2.0 ** min(self._failures, 10))
        asked = explained.retry_after if isinstance(explained, Unavailable) else None
        patient = min(asked, _MOST_PATIENT) if asked is not None and asked < _http.NOT_SOON else 0.0
        self._failures += 1
        self._not_before = self.clock() + max(self.uniform(longest / 2, longest), patient)
        self._error = explained

    def _said_again(self, error: ProviderError) -> ProviderError:
        """A new object: the old one's traceback must not grow, nor keep alive what its frames held."""
        if isinstance(error, Unavailable):
            return Unavailable(str(error), retry_after=max(error.retry_after or 0.0, self._not_before - self.clock()))
        return error.again() if isinstance(error, Denied) else type(error)(str(error))


def _keep_alive(tokens: Tokens) -> threading.Thread:
    """A thread that tends *tokens* until its token is over, or the provider was replaced."""
    gone = threading.Event()
    weak = weakref.ref(tokens, lambda _: gone.set())
    thread = threading.Thread(target=_keep, args=(weak, gone), name="sipcli vault renewal", daemon=True)
    thread.start()
    return thread


def _keep(weak: weakref.ref[Tokens], gone: threading.Event) -> None:
    while (tokens := weak()) is not None:
        pause = tokens.tend()
        if pause is None:
            return
        del tokens
        gone.wait(pause)
