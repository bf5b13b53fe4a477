"""``sipcli doctor``: what works on this machine, and what to do about what does not."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import click

from sipcli.cli.exits import ExitStatus
from sipcli.cli.parameters import GlobalOptions, verb
from sipcli.cli.runtime import Outcome, Run, run_verb
from sipcli.errors import ConfigError

__all__ = ["Finding", "command"]


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing looked at.  *state*: ``ok``; ``missing``, which hurts nobody who does not need it; ``broken``."""

    name: str
    state: str
    message: str
    hint: str | None = None


_MARKS = {"ok": "\N{CHECK MARK}", "missing": "\N{MIDDLE DOT}", "broken": "\N{BALLOT X}"}


@verb("doctor")
@click.pass_obj
def command(options: GlobalOptions) -> int:
    """What works on this machine: configuration, keychain, terminal, audio, codecs, SRTP, ICE, DNS, TLS, plug-ins."""

    async def body(run: Run) -> Outcome:
        findings: list[Finding] = []
        for look in _LOOKS:
            for finding in await run.in_thread(partial(_all, look, run)):
                findings.append(finding)
                hint = f" \N{EN DASH} {finding.hint}" if finding.hint else ""
                run.console.data(f"{_MARKS[finding.state]} {finding.name:<14} {finding.message}{hint}")
        broken = [finding.name for finding in findings if finding.state == "broken"]
        checks = [{"name": f.name, "state": f.state, "message": f.message, "hint": f.hint} for f in findings]
        if "configuration" in broken:
            return Outcome("broken", "the configuration cannot be used", ExitStatus.USAGE, more={"checks": checks})
        words = "something is broken: " + ", ".join(broken) if broken else "sipcli can register and call from here"
        return Outcome("examined", words, more={"checks": checks})

    return run_verb("doctor", options, body)


def _program(_run: Run) -> Iterator[Finding]:
    from importlib.util import find_spec

    from sipcli import __version__

    python = ".".join(map(str, sys.version_info[:3]))
    yield Finding("sipcli", "ok", f"{__version__} on Python {python}, {sys.platform}")
    if find_spec("uvloop") is None:
        yield Finding("uvloop", "missing", "not installed", "pip install 'sipcli[speed]' for thousands of accounts")


def _config(run: Run) -> Iterator[Finding]:
    place = run.config_path
    try:
        config = run.load_config()
    except ConfigError as error:
        for line in str(error).split("\n"):
            yield Finding("configuration", "broken", line, error.hint)
        return
    if config.path is None:
        step = f"sipcli config init writes {place}" if place else "name one with --config FILE: there is no home folder"
        yield Finding("configuration", "missing", "none, and none is needed", step)
        return
    yield Finding("configuration", "ok", f"{config.path}, accounts: {', '.join(config.accounts) or 'none'}")
    from sipcli.cli.config_cmd import missing_files

    for line in missing_files(config):
        yield Finding("configuration", "broken", line)


def _keychain(run: Run) -> Iterator[Finding]:
    from sipcli.cli.chain import build
    from sipcli.plugins import BrokenProvider, where

    keychain = build(run, "keychain")
    place = where(keychain)
    state = "broken" if isinstance(keychain, BrokenProvider) else "ok" if "(keyring." in place else "missing"
    yield Finding("keychain", state, place)


def _terminal(run: Run) -> Iterator[Finding]:
    if run.terminal.available:
        yield Finding("terminal", "ok", "a person can be asked")
    else:
        yield Finding("terminal", "missing", "nobody can be asked here", "secrets must come from a store or a file")


def _audio(_run: Run) -> Iterator[Finding]:
    from sipcli.cli.devices import find_devices
    from sipcli.ua.media import echocancel

    devices, why = find_devices()
    if devices:
        names = ", ".join(device["name"] for device in devices if device["default"]) or devices[0]["name"]
        yield Finding("audio", "ok", f"{len(devices)} devices, {names}")
        if lacks := echocancel.missing():
            needed = "only where a loudspeaker stands beside its microphone"
            yield Finding("audio", "missing", f"echo cancellation needs {lacks}", needed)
    else:
        yield Finding("audio", "missing", why or "no devices")


def _codecs(_run: Run) -> Iterator[Finding]:
    from sipcli.media.codecs import DEFAULT, choose

    usable = {codec.name for codec in choose()}
    yield Finding("codecs", "ok", ", ".join(name.lower() for name in DEFAULT if name in usable))
    for name in DEFAULT:
        if name not in usable:
            try:
                choose([name])
            except ConfigError as error:
                yield Finding("codecs", "missing", str(error), error.hint)


def _srtp(_run: Run) -> Iterator[Finding]:
    from sipcli.media import dtls, srtp

    if lacks := srtp.missing():
        yield Finding(
            "SRTP", "missing", f"encrypted audio needs {lacks}", "pip install 'sipcli[dtls]' brings all of it"
        )
    elif lacks := dtls.missing():
        yield Finding("SRTP", "ok", "keys in the SDP, over TLS")
        yield Finding("SRTP", "missing", f"DTLS-SRTP needs {lacks}", "only for who is called by it, or wants it")
    else:
        yield Finding("SRTP", "ok", "keys in the SDP, over TLS, and DTLS-SRTP")


def _ice(_run: Run) -> Iterator[Finding]:
    from sipcli.ua.media.icesettings import missing

    if lacks := missing():
        yield Finding("ICE", "missing", f"it needs {lacks}", "only behind NATs, and where an account says ice")
    else:
        yield Finding("ICE", "ok", "aioice; used where an account, or --ice, says so")


def _dns(_run: Run) -> Iterator[Finding]:
    servers = _nameservers(Path("/etc/resolv.conf"))
    if servers:
        yield Finding("DNS", "ok", f"asks {', '.join(servers)}")
    else:
        yield Finding("DNS", "missing", "no name server is configured", "addresses and /etc/hosts still work")


def _nameservers(path: Path) -> list[str]:
    try:
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return []
    return [words[1] for line in lines if len(words := line.split()) >= 2 and words[0] == "nameserver"]


def _tls(_run: Run) -> Iterator[Finding]:
    import ssl

    context = ssl.create_default_context()
    count = context.cert_store_stats()["x509_ca"]
    paths = ssl.get_default_verify_paths()
    folder = paths.capath if paths.capath and any(Path(paths.capath).iterdir()) else None
    if count or folder:
        yield Finding("TLS", "ok", f"{ssl.OPENSSL_VERSION}, {count} certificates of {paths.cafile or folder}")
    else:
        yield Finding("TLS", "broken", "this machine trusts nobody", "install ca-certificates, or name a --ca FILE")
    if os.environ.get("SSLKEYLOGFILE"):
        yield Finding("TLS", "broken", "SSLKEYLOGFILE is set: programs write their TLS keys there", "unset it")


def _plugins(_run: Run) -> Iterator[Finding]:
    from sipcli.plugins import describe

    third = [info for info in describe() if not info.builtin]
    if not third:
        yield Finding("plug-ins", "ok", "the built-in providers, no others")
    for info in third:
        state = "broken" if info.problem else "ok"
        yield Finding(
            "plug-ins", state, f"{info.type} from {info.distribution}{': ' if info.problem else ''}{info.problem or ''}"
        )


def _all(look: Callable[[Run], Iterator[Finding]], run: Run) -> list[Finding]:
    return list(look(run))


_LOOKS = (_program, _config, _keychain, _terminal, _audio, _codecs, _srtp, _ice, _dns, _tls, _plugins)
