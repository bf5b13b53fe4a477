"""npm's oidc-provider over https, and the person who signs in at it."""

from __future__ import annotations

import html
import http.cookiejar
import json
import re
import ssl
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path
from typing import Any

from tests.support.real import node_path
from tests.support.servers.process import Server, free_port

SCRIPT = Path(__file__).with_name("oidc.mjs")


class OidcProvider:
    """The provider of ``oidc.mjs``, which lists its clients and passwords; ``ca.pem`` of *certs* is its authority."""

    def __init__(self, directory: Path, certs: Path) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self.port = free_port()
        self.issuer = f"https://127.0.0.1:{self.port}"
        self.ca = certs / "ca.pem"
        node = node_path()
        assert node is not None, "node is not installed"
        self._context = ssl.create_default_context(cafile=str(self.ca))
        self._argv = [node, str(SCRIPT), str(self.port), str(certs)]
        self._log = directory / "oidc.log"
        self._start()
        self._settings = self.control()

    def _start(self) -> None:
        self.server = Server(self._argv, self._log)
        self.server.wait_until(self._answers)

    def restart(self) -> None:
        """It comes back at the same address and knows none of its tokens: they were in memory."""
        self.server.stop()
        self._start()

    def control(self, **settings: Any) -> Any:
        """Change what ``settings`` in oidc.mjs holds; all of it, as it is then."""
        return self.call("/control", json.dumps(settings).encode())

    def reset(self) -> None:
        """The settings as they were at the start; what it has issued stays good."""
        self.control(**self._settings)

    def call(self, path: str, body: bytes | None = None, **headers: str) -> Any:
        """One request; the JSON that came back, an error's too."""
        request = urllib.request.Request(self.issuer + path, body, headers)
        opener = urllib.request.build_opener(
            urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=self._context)
        )
        try:
            with opener.open(request, timeout=10) as answer:
                return json.load(answer)
        except urllib.error.HTTPError as error:
            with error:
                return json.load(error)

    def requests(self) -> int:
        """How many requests have come, ours to ``/control`` not counted."""
        return int(self.control()["requests"])

    def granted(self) -> list[str]:
        """``granted GRANT CLIENT`` and ``refused GRANT ERROR``, oldest first."""
        return [line for line in self.server.text().splitlines() if line.startswith(("granted ", "refused "))]

    def person(self, user: str = "alice", *, deny: bool = False) -> Person:
        return Person(self._context, user, deny=deny)

    def stop(self) -> None:
        self.server.stop()

    def _answers(self) -> bool:
        try:
            return bool(self.call("/.well-known/openid-configuration")["issuer"])
        except (OSError, ValueError, KeyError):
            return False


class Person:
    """Somebody in front of a browser: logs in, types the code, consents or not, follows where it leads."""

    def __init__(self, context: ssl.SSLContext, user: str, *, deny: bool = False) -> None:
        self.user = user
        self.deny = deny
        self.last = ""
        self._browser = urllib.request.build_opener(
            urllib.request.ProxyHandler({}),
            urllib.request.HTTPCookieProcessor(http.cookiejar.CookieJar()),
            urllib.request.HTTPSHandler(context=context),
        )

    def visit_soon(self, url: str, code: str | None = None, *, after: float = 0.0) -> threading.Thread:
        """:meth:`visit` on a thread of its own."""

        def act() -> None:
            time.sleep(after)
            self.visit(url, code)

        thread = threading.Thread(target=act, daemon=True)
        thread.start()
        return thread

    def visit(self, url: str, code: str | None = None) -> None:
        """To the end of the forms; :attr:`last` is the address reached."""
        home = urllib.parse.urlsplit(url).netloc
        page = self._open(url)
        for _ in range(10):
            if urllib.parse.urlsplit(self.last).netloc != home:
                return
            form = re.search(r'<form[^>]*action="([^"]*)"[^>]*>(.*?)</form>', page, re.S)
            if form is None:
                return
            cancel = re.search(r'href="([^"]*/abort)"', page)
            fields = self._filled(form[2], page, code)
            if fields is None and cancel is not None:
                page = self._open(urllib.parse.urljoin(self.last, cancel[1]))
            else:
                page = self._open(urllib.parse.urljoin(self.last, html.unescape(form[1])), fields or {"x": ""})

    def _filled(self, form: str, page: str, code: str | None) -> dict[str, str] | None:
        """The form's fields as this person fills them in; None: leave by the cancel link."""
        fields: dict[str, str] = {}
        for tag in re.findall(r"<(?:input|button)[^>]*>", form):
            attributes = dict(re.findall(r'(\w+)="([^"]*)"', tag))
            if "name" in attributes:
                fields[attributes["name"]] = html.unescape(attributes.get("value", ""))
        if "login" in fields or fields.get("prompt") == "login":
            return fields | {"login": self.user, "password": "any"}
        if "user_code" in fields and code:
            fields["user_code"] = code
            return fields
        if not self.deny:
            fields.pop("abort", None)
            return fields
        if "abort" in page and "xsrf" in fields:
            fields.pop("confirm", None)
            return fields | {"abort": "yes"}
        return None

    def _open(self, url: str, data: dict[str, str] | None = None) -> str:
        body = urllib.parse.urlencode(data).encode() if data else None
        try:
            with self._browser.open(url, body, timeout=10) as answer:
                self.last = answer.url
                return str(answer.read().decode("utf-8", "replace"))
        except urllib.error.HTTPError as error:
            with error:
                self.last = error.url or url
                return error.read().decode("utf-8", "replace")
