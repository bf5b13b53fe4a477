"""The sandbox itself: sockets on loopback around a :class:`SandboxEngine`, and what tests ask it."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Callable
from types import TracebackType
from typing import Any, Self

from sipcli.errors import LocalProtocolError
from sipcli.sandbox.config import SandboxConfig
from sipcli.sandbox.location import Binding
from sipcli.sandbox.phone import CallRecord, Phone
from sipcli.sandbox.server import SandboxEngine, Seen
from sipcli.sip.events import Event
from sipcli.sip.flow import Address, Transport
from sipcli.sip.syntax.message import Request, Response
from sipcli.ua.media.audiospec import AudioSpec
from sipcli.ua.net.endpoint import Endpoint, EndpointConfig, TlsSettings

__all__ = ["Sandbox"]


class Sandbox:
    """A SIP server on loopback to test against::

        async with Sandbox(users={"alice": "wonderland"}, nonce_lifetime=2) as sandbox:
            host, port = sandbox.address("udp")

    Takes a :class:`SandboxConfig`, or its fields.  Lives on the running loop.
    *on_event* sees every event of its core, for whoever wants to watch.
    """

    def __init__(
        self, config: SandboxConfig | None = None, *, on_event: Callable[[Event], None] | None = None, **fields: Any
    ) -> None:
        config = config if config is not None else SandboxConfig()
        self._engine = SandboxEngine(dataclasses.replace(config, **fields))
        self._watcher = on_event
        self._endpoint: Endpoint | None = None
        self._phone: Phone | None = None
        self._addresses: dict[str, Address] = {}

    # -- life -------------------------------------------------------------------------------------

    async def start(self) -> Self:
        """Bind and listen.  NetworkError when a port is taken."""
        config = self.config
        tls = TlsSettings(cert_file=config.cert_file, key_file=config.key_file)
        endpoint = Endpoint(
            self._engine, config=EndpointConfig(bind_host=config.host, tls=tls), on_event=self._on_event
        )
        self._endpoint = endpoint
        await endpoint.start()
        self._phone = Phone(config.host, endpoint.turn, self._engine)
        try:
            await self._listen(endpoint)
        except BaseException:
            await self.close()
            raise
        return self

    async def close(self) -> None:
        """Hang up and close everything; again, it does nothing."""
        endpoint, self._endpoint = self._endpoint, None
        if endpoint is None:
            return
        if self._phone is not None:
            await self._phone.close()
        with endpoint.turn():
            self._engine.close()
        await endpoint.close()

    async def __aenter__(self) -> Self:
        return await self.start()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def _listen(self, endpoint: Endpoint) -> None:
        """UDP and TCP on one port number, so that a request too large for UDP finds the way (RFC 3261 18.1.1)."""
        config = self.config
        if {"udp", "tcp"} <= set(config.transports):
            self._addresses["udp"] = self._addresses["tcp"] = await endpoint.listen_both(config.host, config.port)
        else:
            for transport in set(config.transports) & {"udp", "tcp"}:
                self._addresses[transport] = await endpoint.listen(transport, config.host, config.port)
        if config.cert_file is not None:
            self._addresses["tls"] = await endpoint.listen("tls", config.host, config.tls_port)

    # -- where and how ----------------------------------------------------------------------------

    def address(self, transport: Transport = "udp") -> Address:
        """Where it listens.  LocalProtocolError when it does not."""
        try:
            return self._addresses[transport]
        except KeyError:
            raise LocalProtocolError(f"the sandbox does not listen on {transport}") from None

    def uri(self, user: str | None = None, transport: Transport = "udp") -> str:
        """``sip:user@host:port``, with the transport where it is not UDP."""
        host, port = self.address(transport)
        where = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        who = f"{user}@{where}" if user else where
        return f"sip:{who}" if transport == "udp" else f"sip:{who};transport={transport}"

    @property
    def config(self) -> SandboxConfig:
        return self._engine.gate.config

    def change(self, **fields: Any) -> None:
        """Behave otherwise from now on: fields of :class:`SandboxConfig`, but not where it listens."""
        self._engine.gate.config = dataclasses.replace(self.config, **fields)

    # -- what happened ----------------------------------------------------------------------------

    @property
    def seen(self) -> list[Seen]:
        """Every message that came in, retransmissions included, oldest first; ``.message`` is the parsed one."""
        return list(self._engine.received)

    @property
    def sent(self) -> list[Seen]:
        """Every message that went out."""
        return list(self._engine.sent)

    def requests(self, method: str | None = None) -> list[Request]:
        """The requests that came in, of one *method* or of all."""
        messages = (seen.message for seen in self._engine.received)
        return [message for message in messages if isinstance(message, Request) and method in (None, message.method)]

    def responses(self, method: str | None = None) -> list[Response]:
        """The responses that went out, by the method of their CSeq."""
        messages = (seen.message for seen in self._engine.sent)
        return [
            message for message in messages if isinstance(message, Response) and method in (None, message.cseq.method)
        ]

    def statuses(self, method: str | None = None) -> list[int]:
        return [response.status for response in self.responses(method)]

    @property
    def counts(self) -> Counter[str]:
        """Findings of the guard: ``challenged``, ``passed``, ``wrong``, ``stale``, ``replayed``, ``barred``."""
        return self._engine.gate.guard.counts

    @property
    def wrong(self) -> Counter[str]:
        """Wrong passwords by user name."""
        return self._engine.gate.guard.wrong

    def bindings(self, user: str) -> tuple[Binding, ...]:
        """What is bound for *user* now, the latest last."""
        return self._engine.gate.location.find(user, self._running.loop.time())

    @property
    def calls(self) -> list[CallRecord]:
        """Calls to extensions, and those we made, oldest first."""
        return list(self._phone.records) if self._phone is not None else []

    # -- what it does on its own ------------------------------------------------------------------

    async def call(self, user: str, audio: AudioSpec | str = "tone") -> CallRecord:
        """Call a registered user and, once they answer, send *audio*.  LocalProtocolError when nobody is bound."""
        _ = self._running
        assert self._phone is not None
        return await self._phone.place(user, audio)

    def hang_up(self, record: CallRecord) -> None:
        """End a call that :meth:`call` made."""
        _ = self._running
        assert self._phone is not None
        self._phone.hang_up(record)

    def send_message(self, user: str, text: str) -> None:
        """A MESSAGE to a registered user.  LocalProtocolError when nobody is bound."""
        with self._running.turn():
            self._engine.message_user(user, text.encode())

    @property
    def _running(self) -> Endpoint:
        if self._endpoint is None:
            raise LocalProtocolError("the sandbox is not running")
        return self._endpoint

    def _on_event(self, event: Event) -> None:
        if self._phone is not None:
            self._phone.on_event(event)
        if self._watcher is not None:
            self._watcher(event)
