"""From one user to another: a stateful proxy with one target (RFC 3261 section 16, RFC 6026 section 7.3)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from sipcli.sip.flow import Address, Flow
from sipcli.sip.syntax.message import Request, Response
from sipcli.sip.syntax.uri import NameAddr, SipUri
from sipcli.sip.transactions.server_transaction import ServerTransaction
from sipcli.sip.transactions.transaction import ClientTransaction, TransactionLayer

__all__ = ["Relay"]

_MOST: Final = 1000
_DIALOG_MAKERS: Final = frozenset({"INVITE", "SUBSCRIBE", "REFER"})


@dataclass(frozen=True, slots=True)
class _Legs:
    """Both sides of a dialog that runs through us."""

    caller: Flow
    callee: Flow

    def opposite(self, flow: Flow) -> Flow:
        return self.caller if _same_way(flow, self.callee) else self.callee


def _same_way(one: Flow, other: Flow) -> bool:
    return one.transport == other.transport and one.remote == other.remote


class Relay:
    """Forwards requests to bindings, and requests inside a dialog to its other side."""

    def __init__(self, layer: TransactionLayer) -> None:
        self._layer = layer
        self._legs: dict[str, _Legs] = {}
        self._own: set[Address] = set()

    def __len__(self) -> int:
        """Dialogs that run through us."""
        return len(self._legs)

    def knows(self, request: Request) -> bool:
        """Whether *request* belongs to a dialog that runs through us."""
        return request.to.tag is not None and request.call_id in self._legs

    def comes_from_the_callee(self, request: Request, flow: Flow) -> bool:
        """Whether *request* belongs to such a dialog, and *flow* leads to the side that was called."""
        return self.knows(request) and _same_way(flow, self._legs[request.call_id].callee)

    def start(self, tx: ServerTransaction, contact: NameAddr, flow: Flow) -> None:
        """Forward the request that begins a dialog, or stands alone, to *contact* over *flow*."""
        request = tx.request
        if request.method in _DIALOG_MAKERS:
            self._legs[request.call_id] = _Legs(tx.flow, flow)
            if len(self._legs) > _MOST:  # whose BYE never came
                del self._legs[next(iter(self._legs))]
        self._forward(tx, request.replace_uri(contact.uri), flow)

    def follow(self, tx: ServerTransaction) -> None:
        """Forward a request inside a dialog to the other side of it: its Request-URI is the remote target already."""
        self._forward(tx, tx.request, self._legs[tx.request.call_id].opposite(tx.flow))

    def acknowledge(self, ack: Request, arrival: Flow) -> None:
        """An ACK to a 2xx has no transaction: it is passed on as it comes (section 16.11)."""
        legs = self._legs.get(ack.call_id)
        if legs is not None:
            flow = legs.opposite(arrival)
            self._layer.send(flow, self._prepared(ack, arrival, flow).to_bytes())

    def forget(self, call_id: str) -> None:
        self._legs.pop(call_id, None)

    def _forward(self, tx: ServerTransaction, request: Request, flow: Flow) -> None:
        if request.max_forwards == 0:
            tx.reply(483)
            return
        forwarding = Forwarding(self, tx)
        tx.user = _CallerSide(forwarding)
        forwarding.client = self._layer.request(self._prepared(request, tx.flow, flow), flow, forwarding)

    def _prepared(self, request: Request, arrival: Flow, flow: Flow) -> Request:
        """The copy that goes out: section 16.6, steps 3, 4 and 8, and our own routes removed (section 16.4)."""
        self._own |= {arrival.local, flow.local}
        routes = list(request.routes)
        while routes and self._is_own(routes[0]):
            routes.pop(0)
        copy = request.without("Route")
        for route in reversed(routes):
            copy = copy.prepending("Route", str(route))
        # What was proven here was meant for us alone (section 22.3).
        copy = copy.without("Authorization").without("Proxy-Authorization")
        copy = copy.with_("Max-Forwards", str((70 if request.max_forwards is None else request.max_forwards) - 1))
        if request.method in _DIALOG_MAKERS and request.to.tag is None:
            for own in _record_routes(arrival, flow):
                copy = copy.prepending("Record-Route", own)
        via = f"SIP/2.0/{flow.transport.upper()} {_host_port(flow.local)};branch={self._layer.new_branch()}"
        return copy.prepending("Via", via)

    def _is_own(self, route: NameAddr) -> bool:
        uri = route.uri
        return isinstance(uri, SipUri) and (uri.host, uri.port or 5060) in self._own


def _record_routes(arrival: Flow, flow: Flow) -> Iterable[str]:
    """One for each side when they differ (RFC 5658), the caller's first, so that it ends up below the callee's."""
    sides = [arrival, flow]
    if (arrival.local, arrival.transport) == (flow.local, flow.transport):
        sides.pop()
    for side in sides:
        transport = "" if side.transport == "udp" else f";transport={'tcp' if side.transport == 'tcp' else 'tls'}"
        yield f"<sip:{_host_port(side.local)}{transport};lr>"


def _host_port(address: Address) -> str:
    host, port = address
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


class Forwarding:
    """One request on its way through us, as the client that waits for the callee's answer."""

    def __init__(self, relay: Relay, tx: ServerTransaction) -> None:
        self.relay = relay
        self.server = tx
        self.client: ClientTransaction | None = None
        self.cancelled = False

    def cancel(self) -> None:
        """Now, or, when the callee has said nothing yet, after its first provisional response (section 9.1)."""
        self.cancelled = True
        if self.client is not None:
            self.client.cancel()

    def on_response(self, tx: ClientTransaction, response: Response) -> None:
        status = response.status
        if self.cancelled and status < 200:
            tx.cancel()
        self._settle(status)
        invite = tx.request.method == "INVITE"
        if status == 100 or (not invite and (status < 200 or status == 408)):  # section 16.7, RFC 4320 section 4
            return
        self.server.respond(self._returned(response))

    def on_timeout(self, tx: ClientTransaction) -> None:
        self._settle(408)
        if tx.request.method == "INVITE":
            self.server.reply(487 if self.cancelled else 408)

    def on_transport_error(self, tx: ClientTransaction, why: str) -> None:
        self._settle(480)
        self.server.reply(480)

    def _returned(self, response: Response) -> Response:
        """With the Via header fields of the request that came to us."""
        back = response.without("Via")
        for via in reversed(self.server.request.all("Via")):
            back = back.prepending("Via", via)
        return back

    def _settle(self, status: int) -> None:
        """A dialog that never was, or that a BYE has ended, runs through us no more."""
        request = self.server.request
        if (request.to.tag is None and status >= 300) or (request.method == "BYE" and status >= 200):
            self.relay.forget(request.call_id)


class _CallerSide:
    """The same request, as the server that the caller sees."""

    def __init__(self, forwarding: Forwarding) -> None:
        self._forwarding = forwarding

    def on_cancelled(self, tx: ServerTransaction, cancel: Request) -> None:
        self._forwarding.cancel()

    def on_ack(self, tx: ServerTransaction, ack: Request) -> None:
        self._forwarding.relay.acknowledge(ack, tx.flow)

    def on_timeout(self, tx: ServerTransaction) -> None:
        pass  # the final response is out, or nobody waits for it any more

    def on_transport_error(self, tx: ServerTransaction, why: str) -> None:
        if not tx.answered:
            self._forwarding.cancel()  # nobody can hear the answer
