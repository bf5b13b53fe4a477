"""SIPp as a registrar that asks in every shape: the next usable challenge is answered, or one sentence says why not.

Each over UDP by the command line, with its exit status; over TCP and TLS all at once by the library.
"""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from sipcli.cli.exits import status_of
from sipcli.config import AccountConfig
from sipcli.credentials import PasswordCredentials, Secret
from sipcli.errors import SipcliError
from sipcli.sip.flow import Transport
from sipcli.sip.syntax.uri import SipUri
from sipcli.ua.net.endpoint import EndpointConfig, TlsSettings
from tests.support.agentkit import Site, site
from tests.support.brokerkit import FakeProvider
from tests.support.certs import certificates
from tests.support.cli import Cli
from tests.support.real import require
from tests.support.servers.process import Server, free_port
from tests.support.servers.relay import TlsRelay
from tests.support.servers.shapes import Shape
from tests.support.servers.sipp import SippCallee
from tests.support.softphone import eventually

pytestmark = [pytest.mark.real("sipp"), pytest.mark.xdist_group("shapes")]

UNUSABLE = 3
"""Something is asked for, but nothing that we can give."""
NOTHING = 9
"""Nothing is asked for: that is no SIP."""


def www(*params: str, scheme: str = "Digest", realm: str = 'realm="r"', nonce: str = 'nonce="n1"') -> str:
    given = ", ".join(part for part in (realm, nonce, *params) if part)
    return f"WWW-Authenticate: {scheme} {given}"


def proxy(line: str) -> str:
    return line.replace("WWW-", "Proxy-", 1)


def one(*lines: str, answers: tuple[str, ...] = (), code: int = 401, first: tuple[str, ...] = ()) -> Shape:
    """A single round."""
    status = 0 if answers else UNUSABLE if "".join(lines).partition(":")[2].strip() else NOTHING
    return Shape((lines,), answers, status, code, "Proxy-Authorization" if code == 407 else "Authorization", first)


AUTH = 'qop="auth"'
BASIC = 'WWW-Authenticate: Basic realm="r"'
BEARER = 'WWW-Authenticate: Bearer realm="r", authz_server="https://idp.invalid", scope="sip"'
OTHER = 'WWW-Authenticate: Quantum realm="r", entangled=yes'
GOOD = www(AUTH, "algorithm=SHA-256")
TAKES_GOOD = ("Digest ", "algorithm=SHA-256", 'nonce="n1"', "nc=00000001")

MUCH = www(AUTH, *(f'x{n}="{"y" * 60}"' for n in range(130)))

FOLDED = ['WWW-Authenticate: Digest realm="', *[f" {'r' * 7999}"] * 7, f' ", nonce="n1", {AUTH}']

SHAPES = {
    "A25 no challenge at all": one(),
    "A25 an empty header": one("WWW-Authenticate: "),
    "A25 nothing but commas": one("WWW-Authenticate: ,,,=,"),
    "A25 a scheme and no more": one("WWW-Authenticate: Digest"),
    "A25 no nonce": one(www(AUTH, nonce="")),
    "A25 an empty nonce": one(www(AUTH, nonce='nonce=""')),
    "A25 no realm": one(www(AUTH, realm="")),
    "A25 after a 100": one(GOOD, answers=TAKES_GOOD, first=("100 Trying",)),
    "T13 two nonces": one(www(AUTH, 'nonce="n2"')),
    "T13 two realms in one challenge": one(www(AUTH, 'realm="s"')),
    "T13 two nonces, then a good one": one(www(AUTH, 'nonce="n2"'), GOOD, answers=TAKES_GOOD),
    "T13 8 KiB of parameters": one(MUCH),
    "T13 8 KiB of parameters, then a good one": one(MUCH, GOOD, answers=TAKES_GOOD),
    "T13 60 kB of realm": one(www(AUTH, realm=f'realm="{"r" * 60000}"')),
    "T13 60 kB of realm, folded": one(*FOLDED),
    "T13 a nonce of 1 KiB": one(www(AUTH, nonce=f'nonce="{"n" * 1024}"'), answers=("Digest ", 'nonce="nnnn')),
    "T13 a nonce longer than that": one(www(AUTH, nonce=f'nonce="{"n" * 1025}"')),
    "T13 unbalanced quotes": one(www(AUTH, realm='realm="r')),
    "T13 unbalanced quotes, then a good one": one(www(AUTH, realm='realm="r'), GOOD, answers=TAKES_GOOD),
    "T13 NUL in the realm": one(www(AUTH, realm='realm="r\0x"')),
    "T13 NUL in the nonce": one(www(AUTH, nonce='nonce="n\0x"')),
    "T13 NUL in the realm, then a good one": one(www(AUTH, realm='realm="r\0x"'), GOOD, answers=TAKES_GOOD),
    "T13 an escape sequence in the realm": one(www(AUTH, realm='realm="r\x1b]52;c;eA==\x07"')),
    "T13 octets that are no UTF-8": one(www(AUTH, realm='realm="r\xff\xfe"'), GOOD, answers=("Digest ",)),
    "T13 twenty challenges": one(*[OTHER] * 19, GOOD, answers=TAKES_GOOD),
    "T13 twenty-one challenges": one(*[OTHER] * 20, GOOD),
    "T13 a good one and twenty more": one(GOOD, *[OTHER] * 20, answers=TAKES_GOOD),
    "A12 a backslash at the end of the realm": one(www(AUTH, realm=r'realm="r\"')),
    "A12 an escaped backslash at the end of the realm": one(
        www(AUTH, realm=r'realm="r\\"'), answers=("Digest ", 'realm="r..", ')
    ),
    "A12 an escaped quote in the realm": one(www(AUTH, realm=r'realm="a\"b"'), answers=('realm="a."b"',)),
    "A12 an empty realm": one(www(AUTH, realm='realm=""'), answers=('realm=""',)),
    "A12 an empty opaque": one(www(AUTH, 'opaque=""'), answers=('opaque=""',)),
    "A12 an opaque that looks like parameters": one(www(AUTH, 'opaque="a, realm=x"'), answers=('opaque="a, realm=x"',)),
    "A12 algorithm in quotes": one(www(AUTH, 'algorithm="SHA-256"'), answers=("algorithm=SHA-256",)),
    "A12 algorithm in lower case": one(www(AUTH, "algorithm=sha-256"), answers=("algorithm=SHA-256",)),
    "A12 scheme in capitals": one(www(AUTH, scheme="DIGEST"), answers=("Digest ",)),
    "A12 stale in quotes": one(www(AUTH, 'stale="TRUE"'), answers=("Digest ",)),
    "A12 stale without": one(www(AUTH, "stale=TRUE"), answers=("Digest ",)),
    "A12 domains": one(www(AUTH, 'domain="sip:a sip:b sips:c"'), answers=("Digest ",)),
    "A12 a folded header": one("WWW-Authenticate: Digest", '\tnonce="n1",', f' realm="r", {AUTH}', answers=("nc=0",)),
    "A12 no white space": one('WWW-Authenticate:Digest realm="r",nonce="n1",qop="auth"', answers=("nc=0",)),
    "A12 much white space": one(
        'WWW-Authenticate:  Digest  realm = "r" ,, nonce= "n1", qop ="auth"', answers=("nc=0",)
    ),
    "A06 an unknown algorithm": one(www(AUTH, "algorithm=SHA3-512")),
    "A06 an unknown algorithm first": one(www(AUTH, "algorithm=SHA3-512"), GOOD, answers=TAKES_GOOD),
    "A06 Basic only": one(BASIC),
    "A06 Basic and Digest": one(BASIC, GOOD, answers=TAKES_GOOD),
    "A06 Negotiate first": one("WWW-Authenticate: Negotiate oYIBrTCC==", GOOD, answers=TAKES_GOOD),
    "A06 Bearer and Digest": one(BEARER, GOOD, answers=TAKES_GOOD),
    "A06 Bearer only": one(BEARER),
    "A06 several in one header": one(
        f"{OTHER}, {GOOD.partition(': ')[2]}, {BASIC.partition(': ')[2]}", answers=TAKES_GOOD
    ),
    "A07 WWW and Proxy together": one(GOOD, proxy(www(AUTH, realm='realm="p"')), answers=TAKES_GOOD),
    "A07 Proxy with WWW in a 407": one(
        www(AUTH, realm='realm="w"', nonce='nonce="n2"'), proxy(GOOD), answers=TAKES_GOOD, code=407
    ),
    "A07 two realms": one(GOOD, www(AUTH, realm='realm="s"'), answers=(".", "Digest ")),
    "A07 a 407 to a REGISTER": one(proxy(GOOD), answers=TAKES_GOOD, code=407),
    "A08 SHA-512-256": one(www(AUTH, "algorithm=SHA-512-256"), answers=('response="[0-9a-f]{64}"',)),
    "A09 SHA-256-sess": one(www(AUTH, "algorithm=SHA-256-sess"), answers=("algorithm=SHA-256-sess",)),
    "A09 -sess without qop": one(www("algorithm=MD5-sess")),
    "A10 an unknown qop": one(www('qop="auth-conf"')),
    "A10 an unknown qop beside a known one": one(www('qop="auth-conf, auth"'), answers=("qop=auth[^-]|qop=auth$",)),
    "A10 auth-int": one(www('qop="auth-int"'), answers=("qop=auth-int",)),
    "A11 no qop": one(www(), answers=('response="[0-9a-f]{32}"',)),
    "A15 an unknown charset": one(www(AUTH, "charset=KOI8-R"), answers=('username="alice"',)),
    "A15 userhash": one(
        www(AUTH, "algorithm=SHA-256, userhash=true"), answers=('username="[0-9a-f]{64}"', "userhash=true")
    ),
    "A04 stale, with a new nonce": Shape(
        ((www(AUTH),), (www(AUTH, "stale=true", nonce='nonce="n2"'),)), ('nonce="n2"', "nc=00000001")
    ),
    "A04 stale for ever": Shape(tuple((www(AUTH, "stale=true", nonce=f'nonce="n{n}"'),) for n in range(5)), status=3),
    "A04 stale with the same nonce": Shape(((www(AUTH),), (www(AUTH, "stale=true"),)), status=3),
    "A03 refused without a word": Shape(((www(AUTH),), (www(AUTH, nonce='nonce="n2"'),)), status=3),
}  # fmt: skip


TLS_ONLY = "A06 Bearer only"
"""Over TLS a token would do (RFC 8898 section 2.1.2), and nobody has one."""


def registrar(folder: Path, shape: Shape, transport: str) -> tuple[int, Server]:
    """A SIPp that plays *shape* once."""
    require("sipp")
    folder.mkdir()
    (folder / "scenario.xml").write_text(shape.scenario())
    port = free_port(block=6)
    argv = ["sipp", "-sf", "scenario.xml", "-i", "127.0.0.1", "-p", str(port), "-m", "1", "-nostdin"]
    argv += ["-mi", "127.0.0.1", "-mp", str(port + 2)]
    argv += ["-t", "u1" if transport == "udp" else "t1", "-timeout", "20s", "-timeout_error"]
    argv += ["-trace_err", "-error_file", "errors.log"]
    return port, Server(argv, folder / "sipp.log", cwd=folder)


def listens(port: int, transport: str) -> bool:
    table = Path("/proc/net/udp" if transport == "udp" else "/proc/net/tcp").read_text()
    return f":{port:04X} 00000000:0000" in table


def complaint(folder: Path, server: Server) -> str:
    """Empty if SIPp saw what its scenario wants."""
    status = server.process.wait(15)
    errors = folder / "errors.log"
    return "" if status == 0 else f"{status}: {errors.read_text() if errors.exists() else server.text()[-500:]}"


@pytest.mark.parametrize("name", SHAPES)
def test_A03_A04_A06_A07_A08_A09_A10_A11_A12_A15_A25_T13_a_shape_by_the_command_line(
    cli: Cli, tmp_path: Path, name: str
) -> None:
    """Answered as it should be; else the exit status, one sentence with the next step, and nobody asked."""
    shape = SHAPES[name]
    port, server = registrar(tmp_path / "sipp", shape, "udp")
    try:
        server.wait_until(lambda: listens(port, "udp"))
        given = ["--password-file", str(cli.secret("secret", "secret123"))]
        if shape.unanswered:
            given = []  # whoever were asked now could not answer, and the status would be 4
        done = cli.run("register", f"sip:alice@127.0.0.1:{port}", "--once", "--json", *given)
        assert "Traceback" not in done.stderr
        assert done.code == shape.status, done.stderr
        assert complaint(tmp_path / "sipp", server) == ""
    finally:
        server.stop()
    if shape.status:
        assert done.result["message"].count("\n") == 0
        assert len(done.result["message"]) < 200
        assert done.result["hint"]
    if shape.unanswered:
        assert not done.named("auth.needed")
        assert not done.named("auth.provider")


async def registers(at: Site, folder: Path, name: str, transport: str) -> str:
    """Empty if *name* ended as it should, both for SIPp and for us."""
    shape = SHAPES[name]
    port, server = registrar(folder, shape, transport)
    async with AsyncExitStack() as stack:
        stack.callback(server.stop)
        await eventually(lambda: listens(port, transport) or server.process.poll() is not None, within=15)
        if transport == "tls":
            port = (await stack.enter_async_context(TlsRelay.before(port, "good"))).port
        config = AccountConfig(
            name=name,
            aor=SipUri.parse("sip:alice@127.0.0.1"),
            registrar=SipUri.parse(f"sip:127.0.0.1:{port};transport={transport}"),
            transport=transport,  # type: ignore[arg-type]
            username="alice",
            credentials=("p",),
        )
        account = at.agent.add_account(config)
        status = 0
        try:
            await asyncio.wait_for(account.register(keep=False), 15)
            await account.unregister(timeout=5)
        except (SipcliError, TimeoutError) as error:
            status = int(status_of(error))
        said = await asyncio.to_thread(complaint, folder, server)
    expected = 4 if transport == "tls" and name == TLS_ONLY else shape.status
    return said or ("" if status == expected else f"exit status {status}")


@pytest.mark.parametrize("transport", ["tcp", "tls"])
async def test_A03_A04_A06_A07_A08_A09_A10_A11_A12_A15_A25_T13_all_shapes_at_once(
    tmp_path: Path, transport: str
) -> None:
    """And the provider is asked for those alone that can be answered.

    Sixteen at a time: a busy machine with two cores does not start seventy SIPps within their patience.
    """
    require("sipp", "openssl")
    provider = FakeProvider(PasswordCredentials("alice", Secret("secret123"), realm="*"))
    endpoint = EndpointConfig(tls=TlsSettings(ca_file=certificates().ca_file))
    async with site(provider, endpoint_config=endpoint) as at:
        names, places = list(SHAPES), asyncio.Semaphore(16)

        async def one_of_many(number: int, name: str) -> str:
            async with places:
                return await registers(at, tmp_path / f"sipp{number}", name, transport)

        said = await asyncio.gather(*(one_of_many(number, name) for number, name in enumerate(names)))
        assert {name: words for name, words in zip(names, said, strict=True) if words} == {}
        asked = {request.account for request in provider.requests}
        expected = {name for name, shape in SHAPES.items() if not shape.unanswered}
        assert asked == (expected | {TLS_ONLY} if transport == "tls" else expected)


BODIES = {
    "empty": (b"", None),
    "text": ("grüße\r\n".encode(), "text/plain"),
    "octets": (b"\xff\xfe\r", "application/octet-stream"),
    "multipart": (
        b"--b\r\nContent-Type: text/plain\r\n\r\none\r\n--b\r\n\r\n\xff\r\n\r\n--b--\r\n\r\n",
        "multipart/mixed;boundary=b",
    ),
}


@pytest.mark.parametrize("transport", ["udp", "tcp"])
async def test_A10_A24_sipp_verifies_auth_int_with_each_kind_of_body(tmp_path: Path, transport: Transport) -> None:
    """Boundaries, octets that are no text, line ends at the end, or nothing at all: what arrives is what was hashed.

    Kamailio asks for ``auth-int`` as well, but its module never hashes the body that it would have to compare.
    Fails if anything but the body as it is sent is hashed.
    """
    require("sipp")
    judge = SippCallee(tmp_path / "sipp", "uas_auth_int", calls=len(BODIES), transport=f"{transport[0]}1")
    provider = FakeProvider(PasswordCredentials("alice", Secret("secret123"), realm="*"))
    try:
        async with site(provider) as at:
            where = f"127.0.0.1:{judge.port};transport={transport}"
            account = at.agent.add_account(
                AccountConfig(
                    name="work",
                    aor=SipUri.parse("sip:alice@127.0.0.1"),
                    registrar=SipUri.parse(f"sip:{where}"),
                    transport=transport,
                    username="alice",
                    credentials=("p",),
                )
            )
            for name, (body, kind) in BODIES.items():
                report = await account.send_request("MESSAGE", f"sip:bob@{where}", body=body, content_type=kind)
                assert report.code == 200, (name, report)
    finally:
        judge.server.stop()
