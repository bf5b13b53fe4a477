"""``sipcli options``: ping a server or a phone (RFC 3261 section 11)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from sipcli.cli.exits import ExitStatus
from sipcli.cli.parameters import GlobalOptions, account_options, verb
from sipcli.cli.runtime import Outcome, Run, run_verb
from sipcli.cli.shaping import header_option
from sipcli.cli.who import server_only, target_uri

if TYPE_CHECKING:
    from sipcli.ua.oneshot import OptionsReport

__all__ = ["command"]


@verb("options")
@click.argument("target")
@click.option("--from", "sender", metavar="AOR", help="Who asks: an address, or an account's name.")
@click.option("--expect", type=click.IntRange(200, 699), metavar="CODE", help="Fail (exit 10) on any other answer.")
@header_option("OPTIONS")
@account_options
@click.pass_obj
def command(
    options: GlobalOptions,
    /,
    target: str,
    sender: str | None,
    expect: int | None,
    headers: tuple[tuple[str, str], ...],
    **said: Any,
) -> int:
    """Ping TARGET: latency, what it allows and supports, TLS facts.  Any SIP answer is success."""

    async def body(run: Run) -> Outcome:
        if sender is None and run.options.account is None:
            uri = target_uri(target, None)
            account = run.adopt(server_only(uri), **said)
        else:
            account = run.account(sender, **said)
            uri = target_uri(target, account)
        async with run.agent([account]) as agent, run.patience(run.options.timeout, f"{uri} did not answer"):
            report = await agent.options(agent.account(account.name), uri, headers=headers)
        return _outcome(run, str(uri), report, expect)

    return run_verb("options", options, body)


def _outcome(run: Run, uri: str, report: OptionsReport, expect: int | None) -> Outcome:
    facts: dict[str, Any] = {
        "code": report.code,
        "reason": report.reason,
        "rtt_ms": report.rtt_ms,
        "allow": list(report.allow),
        "supported": list(report.supported),
        "server": report.server,
        "via": {"transport": report.transport, "remote": report.remote, "tls": report.tls},
    }
    proved = report.tls_facts
    if proved is not None:
        facts["tls"] = {"version": proved.version, "cipher": proved.cipher, "expires": proved.not_after}
    if not run.options.json:
        for name in ("allow", "supported"):
            if facts[name]:
                run.console.say(f"  {name}: {', '.join(facts[name])}")
        if report.server:
            run.console.say(f"  server: {report.server}")
        if proved is not None:
            run.console.say(f"  TLS: proved to be {report.tls}, {proved.version}, {proved.cipher}")
            run.console.say(f"  certificate: {proved.subject}, until {proved.not_after}")
    words = (
        f"{uri} answered {report.code} {report.reason} in {report.rtt_ms:.1f} ms ({report.transport} {report.remote})"
    )
    if expect is not None:
        facts["expectations"] = [
            {"name": "code", "want": str(expect), "got": str(report.code), "ok": report.code == expect}
        ]
        if report.code != expect:
            return Outcome("unexpected", f"{words}, not {expect}", ExitStatus.EXPECTATION, more=facts)
    return Outcome("answered", words, more=facts)
