"""Whatever stands in Authorization, the guard answers with a challenge, and never with an exception or a pass."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from sipcli.sandbox.config import SandboxConfig
from sipcli.sandbox.guard import Guard, Refused
from sipcli.sip.syntax.message import Request, parse_message
from tests.support.transactions import request

BASE = request("REGISTER", uri="sip:sandbox").to_bytes()
NAMES = ("username", "username*", "realm", "nonce", "uri", "response", "algorithm", "cnonce", "nc", "qop", "userhash")
values = st.one_of(
    st.sampled_from(
        ["sandbox", "alice", "sip:sandbox", "MD5", "SHA-256", "auth", "auth-int", "00000001", "true", "NONCE"]
    ),
    st.text(st.characters(codec="utf-8", exclude_characters="\r\n"), max_size=12),
)
params = st.lists(st.tuples(st.sampled_from(NAMES), values, st.booleans()), max_size=12)


@settings(max_examples=200)
@given(scheme=st.sampled_from(["Digest", "digest", "Bearer", "Basic", ""]), params=params, tail=st.binary(max_size=8))
def test_nothing_but_the_secret_passes(scheme: str, params: list[tuple[str, str, bool]], tail: bytes) -> None:
    config = SandboxConfig(tokens={"t0ken": "alice"}, auth_info=True, next_nonce=True)
    guard = Guard(config, lambda size: bytes(size))
    plain = parse_message(BASE)
    assert isinstance(plain, Request)
    assert isinstance(guard.judge(plain, 0.0), Refused)  # from now on the nonce of zeros is known
    nonce = bytes(16).hex()
    parts = [
        f'{name}="{value.replace("NONCE", nonce)}"' if quoted else f"{name}={value.replace('NONCE', nonce)}"
        for name, value, quoted in params
    ]
    line = f"Authorization: {scheme} {', '.join(parts)}".encode() + tail.replace(b"\r", b"").replace(b"\n", b"")
    head, _, _ = BASE.partition(b"\r\n\r\n")
    message = parse_message(head + b"\r\n" + line + b"\r\n\r\n")
    assert isinstance(message, Request)
    verdict = guard.judge(message, 1.0)
    assert isinstance(verdict, Refused)
    assert verdict.status == 401
