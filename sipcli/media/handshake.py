"""The DTLS handshakes of one stream: who may take part, when one is given up, and what they come to (RFC 5763).

Datagrams and instants in, datagrams and a deadline out. RTP and RTCP each have their own, unless they share a port.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from sipcli.media.agreement import Address
from sipcli.media.dtls import DtlsAssociation, DtlsIdentity
from sipcli.media.fingerprint import DtlsTerms
from sipcli.media.sdes import SrtpKeys
from sipcli.media.stream import Datagram

__all__ = ["Handshakes"]

LIMIT_S = 20.0
"""From the answer on.  OpenSSL sends a flight at 0, 1, 3, 7 and 15 s; nobody listens to silence longer."""
_AGAIN_S = 1.0
_TRIALS = 4
_EARLY = 8


class _Component:
    """One port of the peer.  Every source is tried by itself, so that a stranger spoils nothing but his own try."""

    def __init__(
        self, make: Callable[[bool], DtlsAssociation], remote: Address | None, *, client: bool, now: float
    ) -> None:
        self._make, self._client = make, client
        self.remote = remote
        self._trials: dict[Address, DtlsAssociation] = {}
        self._again_at: float | None = None
        self.keys: SrtpKeys | None = None
        self.proven: Address | None = None
        """Where the peer that has the right certificate is."""
        self.mismatch = ""
        self.broken = ""
        """What became of the last try that failed."""
        self.strangers = 0
        if client:
            self._call_on(now)

    def _call_on(self, now: float) -> None:
        if self.remote is not None:
            self._again_at = None
            self._trials[self.remote] = self._make(False)
            self._judge(self.remote, now)

    def receive(self, data: bytes, source: Address, now: float) -> None:
        trial = self._trials.get(source)
        if trial is None and not self._client and self.proven is None and _is_client_hello(data):
            trial = self._admit(source)
        if trial is None:
            self.strangers += 1
            return
        trial.receive(data)
        self._judge(source, now)

    def _admit(self, source: Address) -> DtlsAssociation:
        """Somebody asks; beyond a few the oldest makes room, but never the one whom the signalling named.

        From elsewhere it may be the peer, behind a NAT, or somebody in whose name a stranger asks: he gets a cookie
        to bring back before five flights of certificates go to him (docs/decisions/0132-a-cookie-for-strangers.md).
        """
        if len(self._trials) >= _TRIALS and source != self.remote:
            del self._trials[next(address for address in self._trials if address != self.remote)]
        self._trials[source] = trial = self._make(source != self.remote)
        return trial

    def _judge(self, source: Address, now: float) -> None:
        trial = self._trials[source]
        if trial.keys is not None and self.keys is None:
            self.keys, self.proven = trial.keys, source
            self._trials = {source: trial}
        elif trial.mismatched and source == self.remote:
            self.mismatch = trial.failure
        elif trial.failure:
            # RFC 6347 section 4.1.2.7: one forged alert ends no call; the next try may be the peer's.
            del self._trials[source]
            self.broken = trial.failure
            if self._client:
                self._again_at = now + _AGAIN_S

    def move(self, remote: Address, now: float) -> None:
        """The peer is at *remote* now (ICE): an association goes along, it is bound to certificates, not to places."""
        before, self.remote = self.proven or self.remote, remote
        trial = None if before is None else self._trials.pop(before, None)
        if trial is not None:
            self._trials[remote] = trial
        elif self._client:
            self._call_on(now)
        if self.proven is not None:
            self.proven = remote

    def wake(self, now: float) -> None:
        if self._again_at is not None and now >= self._again_at:
            self._call_on(now)
        for source, trial in list(self._trials.items()):
            if trial.timeout() == 0.0:
                trial.wake()
                self._judge(source, now)

    def due_in(self, now: float) -> float | None:
        waits = [wait for trial in self._trials.values() if (wait := trial.timeout()) is not None]
        if self._again_at is not None:
            waits.append(max(0.0, self._again_at - now))
        return min(waits, default=None)

    def take(self) -> list[tuple[bytes, Address]]:
        return [(data, source) for source, trial in self._trials.items() for data in trial.take()]

    def close(self) -> None:
        for trial in self._trials.values():
            trial.close()


class Handshakes:
    """:meth:`begin` at every agreement by DTLS; then :attr:`failure`, or :meth:`keys` of each port."""

    def __init__(self) -> None:
        self._terms: DtlsTerms | None = None
        self._components: dict[bool, _Component] = {}
        self._early: deque[tuple[bytes, Address, bool]] = deque(maxlen=_EARLY)
        self._hurried = False
        self._give_up_at: float | None = None
        self.failure = ""
        """Why there is no encrypted audio, for a sentence: the call is of no use."""

    def begin(
        self, terms: DtlsTerms, identity: DtlsIdentity, remote: Address | None, remote_rtcp: Address | None, now: float
    ) -> bool:
        """Shake hands with who is at *remote* and, if RTCP has a port of its own, at *remote_rtcp*.

        False: *terms* are those of the association that there is, which goes on (RFC 8842 section 4).
        """
        if terms == self._terms and self._components[False].remote is not None:
            return False
        self._terms, self.failure = terms, ""
        client = terms.role == "client"

        def make(stranger: bool) -> DtlsAssociation:
            return DtlsAssociation(identity, client=client, fingerprints=terms.fingerprints, stranger=stranger)

        self._components = {False: _Component(make, remote, client=client, now=now)}
        if remote_rtcp is not None:
            self._components[True] = _Component(make, remote_rtcp, client=client, now=now)
        self._give_up_at = now + LIMIT_S if self._hurried else None
        early = list(self._early)
        self._early.clear()
        for data, source, rtcp in early:
            self.receive(data, source, now, rtcp=rtcp)
        return True

    def hurry(self, now: float) -> None:
        """The call is answered: from now on somebody waits.  Before, a peer may take its time (early media)."""
        self._hurried = True
        if self._components and self.keys() is None and self._give_up_at is None:
            self._give_up_at = now + LIMIT_S

    def move(self, remote: Address, remote_rtcp: Address | None, now: float) -> None:
        """A path was found, or changed, or the signalling names another place; see :meth:`begin`."""
        for rtcp, address in ((False, remote), (True, remote_rtcp)):
            component = self._components.get(rtcp)
            if address is not None and component is not None and address != component.remote:
                component.move(address, now)

    def receive(self, data: bytes, source: Address, now: float, *, rtcp: bool = False) -> None:
        """A DTLS datagram.  A ClientHello may be here before the answer that says whose it is: it is kept for that."""
        component = self._components.get(rtcp)
        if component is None:
            if not self._components:
                self._early.append((data, source, rtcp))
            return
        component.receive(data, source, now)
        self._judge()

    def wake(self, now: float) -> None:
        """Something is due: see :meth:`due_in`."""
        for component in self._components.values():
            component.wake(now)
        self._judge()
        if self._give_up_at is not None and self.keys() is not None:
            self._give_up_at = None
        if self._give_up_at is not None and now >= self._give_up_at:
            self._give_up_at = None
            broken = self._components[False].broken or "nobody answered in the DTLS handshake"
            self.failure = self.failure or f"no keys for the audio after {LIMIT_S:g} s: {broken}"

    def _judge(self) -> None:
        mismatches = [component.mismatch for component in self._components.values() if component.mismatch]
        if mismatches:
            self.failure = mismatches[0]

    def due_in(self, now: float) -> float | None:
        """Seconds until :meth:`wake`; None: nothing is awaited."""
        waits = [wait for component in self._components.values() if (wait := component.due_in(now)) is not None]
        if self._give_up_at is not None:
            waits.append(max(0.0, self._give_up_at - now))
        return min(waits, default=None)

    def take(self) -> list[Datagram]:
        """What is to be sent now."""
        return [
            Datagram(data, address, rtcp=rtcp)
            for rtcp, component in self._components.items()
            for data, address in component.take()
        ]

    def keys(self, *, rtcp: bool = False) -> SrtpKeys | None:
        component = self._components.get(rtcp)
        return None if component is None else component.keys

    @property
    def proven(self) -> Address | None:
        """Where the peer turned out to be."""
        return self._components[False].proven if self._components else None

    @property
    def strangers(self) -> int:
        """Datagrams of others than the peer."""
        return sum(component.strangers for component in self._components.values())

    def close(self) -> None:
        """Say good-bye, once more by :meth:`take`."""
        for component in self._components.values():
            component.close()
        self._give_up_at = None


def _is_client_hello(data: bytes) -> bool:
    """A handshake record of epoch 0 that begins with one (RFC 6347 sections 4.1 and 4.2.2)."""
    return data[:1] == b"\x16" and data[3:5] == b"\0\0" and data[13:14] == b"\x01"
