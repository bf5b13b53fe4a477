"""Waits for the browser to come back from the login page, on a port of this machine (RFC 8252 section 7.3).

Anything on this machine can connect here, and a web page can make the browser
do it.  So only a GET of our path with the right ``state`` and our own Host is
taken; everything else gets an error and we go on waiting.
"""

from __future__ import annotations

import hmac
import selectors
import socket
from types import TracebackType
from urllib.parse import parse_qsl, urlsplit

from sipcli.credentials import Unavailable
from sipcli_providers._patience import Wait

PATH = "/callback"
_GLANCE = 0.1
_LARGEST = 16 * 1024
_MOST = 16  # browsers open connections on suspicion

_PAGE = (
    "HTTP/1.1 {status}\r\nContent-Type: text/html; charset=utf-8\r\nContent-Length: {size}\r\n"
    "Cache-Control: no-store\r\nReferrer-Policy: no-referrer\r\nConnection: close\r\n\r\n"
)
_DONE = "<!doctype html><title>sipcli</title><p>Done. You may close this page and go back to sipcli."
_ODD = "<!doctype html><title>sipcli</title><p>This is not what sipcli is waiting for."


class Loopback:
    """A listener on 127.0.0.1; a context manager.  *port* 0 takes a free one."""

    def __init__(self, port: int = 0) -> None:
        self._listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        try:
            self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            self._listener.bind(("127.0.0.1", port))
            self._listener.listen(_MOST)
            self._listener.setblocking(False)
        except OSError as error:
            self._listener.close()
            raise Unavailable(
                f"port {port} on 127.0.0.1, where the browser would come back to, is taken: change redirect_port"
            ) from error
        self.host = f"127.0.0.1:{self._listener.getsockname()[1]}"
        self.redirect_uri = f"http://{self.host}{PATH}"
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._listener, selectors.EVENT_READ)
        self._received: dict[socket.socket, bytes] = {}

    def __enter__(self) -> Loopback:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        for connection in [*self._received, self._listener]:
            connection.close()
        self._selector.close()

    def receive(self, state: str, wait: Wait) -> dict[str, str]:
        """The parameters of the redirect that carries *state*; Cancelled or Unavailable when nobody comes."""
        while True:
            wait.cancel.raise_if_set()
            if wait.left() <= 0:
                raise Unavailable("nobody came back from the login page in time: try again")
            for key, _ in self._selector.select(min(_GLANCE, max(0.0, wait.left()))):
                if key.fileobj is self._listener:
                    self._accept()
                elif isinstance(key.fileobj, socket.socket) and (found := self._read(key.fileobj, state)) is not None:
                    return found

    def _accept(self) -> None:
        try:
            connection, _ = self._listener.accept()
        except OSError:  # it left again
            return
        connection.setblocking(False)
        if len(self._received) >= _MOST:
            self._drop(next(iter(self._received)))
        self._received[connection] = b""
        self._selector.register(connection, selectors.EVENT_READ)

    def _read(self, connection: socket.socket, state: str) -> dict[str, str] | None:
        try:
            chunk = connection.recv(4096)
        except BlockingIOError:
            return None
        except OSError:
            chunk = b""
        octets = self._received[connection] + chunk
        self._received[connection] = octets
        if not chunk or len(octets) > _LARGEST:
            self._drop(connection)
            return None
        if b"\r\n\r\n" not in octets:
            return None
        found = parse_redirect(octets.decode("latin-1"), self.host, state)
        self._answer(connection, found is not None)
        return found

    def _answer(self, connection: socket.socket, good: bool) -> None:
        page = _DONE if good else _ODD
        head = _PAGE.format(status="200 OK" if good else "404 Not Found", size=len(page))
        try:
            connection.sendall((head + page).encode())  # 300 octets fit into any send buffer
        except OSError:
            pass  # the browser has left; what counts is what it said
        self._drop(connection)

    def _drop(self, connection: socket.socket) -> None:
        self._selector.unregister(connection)
        del self._received[connection]
        connection.close()


def parse_redirect(head: str, host: str, state: str) -> dict[str, str] | None:
    """The parameters of a request that is our redirect, else None."""
    line, *headers = head.split("\r\n\r\n", 1)[0].split("\r\n")
    method, _, rest = line.partition(" ")
    target = rest.partition(" ")[0]
    names = {name.strip().lower(): value.strip() for name, _, value in (header.partition(":") for header in headers)}
    try:
        parts = urlsplit(target)
    except ValueError:
        return None
    # Host: a page that rebinds its own name to 127.0.0.1 would send that name.
    if method != "GET" or parts.path != PATH or names.get("host") != host:
        return None
    pairs = parse_qsl(parts.query, keep_blank_values=True, max_num_fields=20) if parts.query.count("&") < 20 else []
    found = dict(pairs)
    if len(found) != len(pairs):  # RFC 6749 section 3.1: parameters must not be repeated
        return None
    return found if hmac.compare_digest(found.get("state", "").encode(), state.encode()) else None
