"""``sipcli message`` and ``sipcli options`` as processes, against the sandbox."""

from __future__ import annotations

import pytest

from tests.support.certs import certificates
from tests.support.cli import Cli


class TestMessageAndOptions:
    def test_a_message(self, alice: Cli) -> None:
        done = alice.run("message", "echo", "hello there", "--json")
        assert done.code == 0, done.stderr
        assert done.result["outcome"] == "sent"

    def test_a_message_from_stdin(self, alice: Cli) -> None:
        assert alice.run("message", "echo", "-", stdin="from a pipe\n").code == 0

    @pytest.mark.parametrize("stdin", ["", "\n"])
    def test_nothing_to_send(self, alice: Cli, stdin: str) -> None:
        done = alice.run("message", "echo", stdin=stdin)
        assert done.code == 2
        assert "nothing to send" in done.stderr

    def test_D05_one_that_is_too_long_for_udp_says_what_to_do(self, alice: Cli) -> None:
        done = alice.run("message", "echo", "x" * 1300, "--transport", "udp")
        assert done.code == 7
        assert "octets are too many for UDP" in done.stderr
        assert "send it in parts, or over TCP or TLS: --transport tcp" in done.stderr
        assert alice.run("message", "echo", "x" * 1300, "--transport", "tcp").code == 0

    def test_nobody_there(self, alice: Cli) -> None:
        assert alice.run("message", "nobody", "x").code in (5, 11)

    def test_a_ping_needs_no_account(self, cli: Cli, sandbox: str) -> None:
        done = cli.run("options", f"sip:{sandbox}", "--json")
        assert done.code == 0, done.stderr
        assert done.result["code"] == 200
        assert "INVITE" in done.result["allow"]
        assert done.result["via"]["transport"] == "udp"

    def test_a_ping_over_ipv6(self, cli: Cli) -> None:
        six = cli.start("sandbox", "--json", "--host", "::1")
        try:
            port = six.wait_for("ready")["listen"][0]["port"]
            done = cli.run("options", f"sip:[::1]:{port}", "--json")
            assert done.code == 0, done.stderr
            assert done.result["via"]["remote"] == f"[::1]:{port}"
        finally:
            six.kill()

    def test_a_ping_over_tls_says_what_was_proved(self, cli: Cli) -> None:
        authority = certificates()
        leaf = authority.leaf("good")
        server = cli.start("sandbox", "--json", "--cert", str(leaf.cert_file), "--key", str(leaf.key_file))
        try:
            [port] = [at["port"] for at in server.wait_for("ready")["listen"] if at["transport"] == "tls"]
            target = f"sip:127.0.0.1:{port};transport=tls"
            done = cli.run("options", target, "--ca", str(authority.ca_file), "--json")
            assert done.code == 0, done.stderr
            assert done.result["tls"]["version"].startswith("TLSv1")
            assert done.result["via"]["tls"] == "127.0.0.1"
            stranger = cli.run("options", target)
            assert stranger.code == 7
            assert "--ca FILE" in stranger.stderr
        finally:
            server.kill()

    def test_a_strict_ping(self, cli: Cli, sandbox: str) -> None:
        done = cli.run("options", f"sip:{sandbox};transport=tcp", "--expect", "404", "--json")
        assert done.code == 10
        assert done.result["expectations"] == [{"name": "code", "want": "404", "got": "200", "ok": False}]
