"""An HTTP server that misbehaves on purpose, for what the real ones cannot be made to do."""

from __future__ import annotations

import http.server
import ssl
import threading
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

_direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))


@dataclass(frozen=True)
class Seen:
    """One request as it arrived; header names are lower-case."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True)
class Answer:
    """*drip* seconds are waited between the octets of the body; *hang* says nothing at all."""

    status: int = 200
    body: bytes = b"{}"
    headers: Mapping[str, str] = field(default_factory=dict)
    drip: float = 0.0
    hang: bool = False


def redirect_to(url: str, status: int = 307) -> Answer:
    return Answer(status, b"", {"Location": url})


def forward_to(url: str) -> Callable[[Seen], Answer]:
    """Hands requests on to a real server, so that a test can count them."""

    def forward(seen: Seen) -> Answer:
        headers = {name: value for name, value in seen.headers.items() if name.startswith(("x-", "content-type"))}
        request = urllib.request.Request(url + seen.path, seen.body or None, headers, method=seen.method)
        try:
            with _direct.open(request, timeout=20) as answer:
                return Answer(answer.status, answer.read(), {"Content-Type": "application/json"})
        except urllib.error.HTTPError as error:
            with error:
                return Answer(error.code, error.read(), {"Content-Type": "application/json"})

    return forward


class FaultServer:
    """Listens on a free port of 127.0.0.1; *answer* decides, :attr:`seen` remembers.  A context manager."""

    def __init__(self, answer: Callable[[Seen], Answer], *, certs: Path | None = None) -> None:
        self.seen: list[Seen] = []
        self.answer = answer
        self._closing = threading.Event()
        self._http = _Listener(("127.0.0.1", 0), self._handler())
        if certs is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(certs / "good.pem", certs / "good.key")
            self._http.socket = context.wrap_socket(self._http.socket, server_side=True)
        self.port = int(self._http.server_address[1])
        self.url = f"{'https' if certs else 'http'}://127.0.0.1:{self.port}"
        self._thread = threading.Thread(target=self._http.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        self._thread.start()

    def __enter__(self) -> FaultServer:
        return self

    def __exit__(self, *_: object) -> None:
        self._closing.set()
        self._http.shutdown()
        self._http.server_close()
        self._thread.join(5)

    def paths(self) -> list[str]:
        return [seen.path for seen in self.seen]

    def _handler(self) -> type[http.server.BaseHTTPRequestHandler]:
        faults = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            timeout = 20

            def log_message(self, *_: object) -> None:
                """Not on stderr."""

            def _serve(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                headers = {name.lower(): value for name, value in self.headers.items()}
                seen = Seen(self.command, self.path, headers, body)
                faults.seen.append(seen)
                self._reply(faults.answer(seen))

            def _reply(self, answer: Answer) -> None:
                self.close_connection = True
                if answer.hang:
                    faults._closing.wait(20)
                    return
                self.send_response_only(answer.status)
                usual = {"Content-Type": "application/json", "Date": self.date_time_string()}
                for name, value in {**usual, **answer.headers}.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(answer.body)))
                self.send_header("Connection", "close")
                self.end_headers()
                if not answer.drip:
                    self.wfile.write(answer.body)
                    return
                for octet in answer.body:
                    self.wfile.write(bytes([octet]))
                    if faults._closing.wait(answer.drip):
                        return

            do_GET = do_POST = do_PUT = do_HEAD = do_LIST = _serve  # noqa: N815 - names that http.server looks for

        return Handler


class _Listener(http.server.ThreadingHTTPServer):
    daemon_threads: ClassVar[bool] = True  # type: ignore[misc]
    block_on_close = False
    request_queue_size = 64

    def handle_error(self, *_: object) -> None:
        """A client that left early is what these tests are about."""
