"""A SIM in files against the published test sets of Milenage, and against a network's side written out here.

The sets 1 to 6 of 3GPP TS 35.207 (sections 4.3, 5.3 and 6.3) were not taken from the specification itself but
from two public test suites that quote it: free5gc/util, ``milenage/milenage_test.go``, and magma/magma,
``lte/cloud/go/crypto/milenage_test.go``.  What both hold is the same; f2, f5 and f3 of set 6 are in the second
alone, and OP in the first.
"""

from __future__ import annotations

import base64
import builtins
import errno
import fcntl
import hashlib
import hmac
import json
import stat
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from hypothesis import given
from hypothesis import strategies as st

from sipcli.credentials import Cancelled, Denied, DigestInput, NotFound, Signature, SigningCredentials, Unavailable
from sipcli.testing import ProviderContract, make_context, make_request
from sipcli_providers._milenage import f1, f2345, make_opc, xor
from sipcli_providers._patience import Wait
from sipcli_providers._sequence import SequenceNumbers
from sipcli_providers.sim import SimProvider, _read_nonce

# K RAND SQN AMF / OP OPc / f1 f1* f2 f5 / f3 f4 f5*
SETS = [
    text.split()
    for text in (
        """
        465b5ce8b199b49faa5f0a2ee238a6bc 23553cbe9637a89d218ae64dae47bf35 ff9bb4d0b607 b9b9
        cdc202d5123e20f62b6d676ac72cb318 cd63cb71954a9f4e48a5994e37a02baf
        4a9ffac354dfafb3 01cfaf9ec4e871e9 a54211d5e3ba50bf aa689c648370
        b40ba9a3c58b2a05bbf0d987b21bf8cb f769bcd751044604127672711c6d3441 451e8beca43b
        """,
        """
        0396eb317b6d1c36f19c1c84cd6ffd16 c00d603103dcee52c4478119494202e8 fd8eef40df7d af17
        ff53bade17df5d4e793073ce9d7579fa 53c15671c60a4b731c55b4a441c0bde2
        5df5b31807e258b0 a8c016e51ef4a343 d3a628ed988620f0 c47783995f72
        58c433ff7a7082acd424220f2b67c556 21a8c1f929702adb3e738488b9f5c5da 30f1197061c1
        """,
        """
        fec86ba6eb707ed08905757b1bb44b8f 9f7c8d021accf4db213ccff0c7f71a6a 9d0277595ffc 725c
        dbc59adcb6f9a0ef735477b7fadf8374 1006020f0a478bf6b699f15c062e42b3
        9cabc3e99baf7281 95814ba2b3044324 8011c48c0c214ed2 33484dc2136b
        5dbdbb2954e8f3cde665b046179a5098 59a92d3b476a0443487055cf88b2307b deacdd848cc6
        """,
        """
        9e5944aea94b81165c82fbf9f32db751 ce83dbc54ac0274a157c17f80d017bd6 0b604a81eca8 9e09
        223014c5806694c007ca1eeef57f004f a64a507ae1a2a98bb88eb4210135dc87
        74a58220cba84c49 ac2cc74a96871837 f365cd683cd92e96 f0b9c08ad02e
        e203edb3971574f5a94b0d61b816345d 0c4524adeac041c4dd830d20854fc46b 6085a86c6f63
        """,
        """
        4ab1deb05ca6ceb051fc98e77d026a84 74b0cd6031a1c8339b2b6ce2b8c4a186 e880a1b580b6 9f07
        2d16c5cd1fdf6b22383584e3bef2a8d8 dcf07cbd51855290b92a07a9891e523e
        49e785dd12626ef2 9e85790336bb3fa2 5860fc1bce351e7e 31e11a609118
        7657766b373d1c2138f307e3de9242f9 1c42e960d89b8fa99f2744e0708ccb53 fe2555e54aa9
        """,
        """
        6c38a116ac280c454f59332ee35c8c4f ee6466bc96202c5a557abbeff8babf63 414b98222181 4464
        1ba00a1a7c6700ac8c3ff3e96ad08725 3803ef5363b947c6aaa225e58fae3934
        078adfb488241a57 80246b8d0186bcf1 16c8233f05a0ac28 45b0f69ab06c
        3f8c7587fe8e4b233af676aede30ba3b a7466cc1e6b2a1337d49d3b66e95d7b4 1f53cd2b1113
        """,
    )
]
K, RAND, SQN, AMF, OP, OPC, MAC_A, MAC_S, RES, AK, CK, IK, AK_STAR = SETS[0]


def aes(key: str) -> Any:
    cipher = Cipher(algorithms.AES(bytes.fromhex(key)), modes.ECB())
    return lambda block: cipher.encryptor().update(block)


@pytest.mark.parametrize("row", SETS, ids=[f"set{n}" for n in range(1, 7)])
def test_A29_milenage_gives_what_the_published_sets_say(row: list[str]) -> None:
    k, rand, sqn, amf, op, opc, mac_a, mac_s, res, ak, ck, ik, ak_star = row
    block = aes(k)
    assert make_opc(block, bytes.fromhex(op)).hex() == opc
    octets = [bytes.fromhex(text) for text in (opc, rand, sqn, amf)]
    assert [mac.hex() for mac in f1(block, *octets)] == [mac_a, mac_s]
    got = f2345(block, octets[0], octets[1])
    for value, expected in zip(got, (res, ck, ik, ak, ak_star), strict=True):
        assert value.hex() == expected


def nonce(sqn: str = SQN, *, mac: str | None = None, data: bytes = b"") -> str:
    """The network's challenge with RAND of set 1; the published SQN has its published MAC."""
    octets = bytes.fromhex(sqn)
    if mac is None:
        mac = (
            MAC_A
            if sqn == SQN
            else f1(aes(K), bytes.fromhex(OPC), bytes.fromhex(RAND), octets, bytes.fromhex(AMF))[0].hex()
        )
    autn = xor(octets, bytes.fromhex(AK)) + bytes.fromhex(AMF) + bytes.fromhex(mac)
    return base64.b64encode(bytes.fromhex(RAND) + autn + data).decode()


def asks(challenge: str, algorithm: str = "AKAv1-MD5", **changes: Any) -> DigestInput:
    fields: dict[str, Any] = {
        "username": "imsi@ims.example",
        "realm": "ims.example",
        "nonce": challenge,
        "algorithm": algorithm,
        "method": "REGISTER",
        "uri": "sip:ims.example",
        "nc": "00000001",
        "cnonce": "c0ffee",
    }
    return DigestInput(**fields | changes)


def expected(digest: DigestInput, password: bytes, method: str = "REGISTER") -> str:
    """RFC 2617, as the network computes it: the password may hold any octet."""

    def h(data: bytes) -> str:
        return hashlib.md5(data).hexdigest()

    a1 = h(f"{digest.username}:{digest.realm}:".encode() + password)
    a2 = f"{method}:{digest.uri}" + (f":{digest.body_hash}" if digest.qop == "auth-int" else "")
    return h(f"{a1}:{digest.nonce}:{digest.nc}:{digest.cnonce}:{digest.qop}:{h(a2.encode())}".encode())


@pytest.fixture
def options(tmp_path: Path) -> dict[str, Any]:
    tmp_path.chmod(0o700)
    for name, text in (("k", K), ("op", OP), ("opc", OPC)):
        (tmp_path / name).write_text(text + "\n")
        (tmp_path / name).chmod(0o600)
    files = {key: str(tmp_path / key.removesuffix("_file")) for key in ("k_file", "opc_file", "sqn_file")}
    return {**files, "username": "imsi@ims.example"}


def made(options: dict[str, Any]) -> SimProvider:
    return SimProvider(make_context(options))


def request(**changes: Any) -> Any:
    return make_request(algorithms=("AKAv1-MD5",), **changes)


def signature(provider: SimProvider, digest: DigestInput) -> Signature:
    return provider.sign(request(), provider.get(request()), digest)


@pytest.mark.parametrize("operator", ["op", "opc"])
def test_A29_res_is_the_password_of_the_first_version(options: dict[str, Any], operator: str, tmp_path: Path) -> None:
    del options["opc_file"]
    provider = made({**options, f"{operator}_file": str(tmp_path / operator)})
    digest = asks(nonce(data=b"the server's own"))
    got = signature(provider, digest)
    assert got == Signature(expected(digest, bytes.fromhex(RES)), expected(digest, bytes.fromhex(RES), ""))


def test_A29_the_second_version_binds_the_password_to_its_use(options: dict[str, Any]) -> None:
    digest = asks(nonce(), "AKAv2-MD5", qop="auth-int", body_hash="d41d8cd98f00b204e9800998ecf8427e")
    key = bytes.fromhex(RES + IK + CK)
    password = base64.b64encode(hmac.new(key, b"http-digest-akav2-password", "md5").digest())
    assert signature(made(options), digest) == Signature(expected(digest, password))


def test_A29_an_old_sequence_number_is_answered_with_auts_and_an_empty_password(options: dict[str, Any]) -> None:
    provider = made(options)
    signature(provider, asks(nonce()))
    digest = asks(nonce())
    got = signature(provider, digest)
    assert got.response == expected(digest, b"") and got.rspauth is None
    auts = base64.b64decode(got.auts or "")
    assert xor(auts[:6], bytes.fromhex(AK_STAR)).hex() == SQN, "the highest number that was seen"
    mac_s = f1(aes(K), bytes.fromhex(OPC), bytes.fromhex(RAND), bytes.fromhex(SQN), bytes(2))[1]
    assert auts[6:] == mac_s
    following = f"{int(SQN, 16) + 32:012x}"
    assert signature(made(options), asks(nonce(following))).auts is None, "resynchronised, in another process too"


@pytest.mark.parametrize("mac", ["00" * 8, MAC_S])
def test_A29_a_network_that_lacks_the_key_is_denied_and_no_number_is_spent(options: dict[str, Any], mac: str) -> None:
    """Fails without the comparison of MAC-A in SimProvider.sign: anybody could wind the counter forward."""
    provider = made(options)
    with pytest.raises(Denied, match="does not know the key"):
        signature(provider, asks(nonce(mac=mac)))
    assert not Path(options["sqn_file"]).exists()
    assert signature(provider, asks(nonce())).auts is None


@pytest.mark.parametrize("text", ["", "abc", "!" * 44, base64.b64encode(bytes(31)).decode(), "é" * 40])
def test_A29_a_nonce_without_rand_and_autn_is_denied(options: dict[str, Any], text: str) -> None:
    with pytest.raises(Denied, match="holds no AKA challenge"):
        signature(made(options), asks(text))


@given(st.text(max_size=80))
def test_A29_any_nonce_is_read_or_denied(text: str) -> None:
    try:
        rand, autn = _read_nonce(text)
    except Denied:
        return
    assert (len(rand), len(autn)) == (16, 16)


@given(st.binary(min_size=16, max_size=16), st.binary(min_size=6, max_size=6))
def test_A29_what_the_network_hides_the_sim_reads(rand: bytes, sqn: bytes) -> None:
    block, opc = aes(K), bytes.fromhex(OPC)
    hidden = xor(sqn, f2345(block, opc, rand).ak)
    assert xor(hidden, f2345(block, opc, rand).ak) == sqn
    assert f1(block, opc, rand, sqn, bytes(2))[0] != f1(block, opc, rand, sqn, bytes(2))[1]


# --- sequence numbers ---------------------------------------------------------------------------------------------


def accepts(numbers: SequenceNumbers, sqn: int) -> int | None:
    return numbers.accept(sqn, Wait.of(make_request()))


def test_A29_numbers_are_judged_by_their_index_and_not_too_far_ahead(tmp_path: Path) -> None:
    tmp_path.chmod(0o700)
    seen = SequenceNumbers(tmp_path / "sqn")
    assert accepts(seen, (100 << 5) + 1) is None
    assert accepts(seen, (99 << 5) + 2) is None, "an older vector of another index still serves"
    assert accepts(seen, (99 << 5) + 1) == (100 << 5) + 1
    assert accepts(seen, (100 << 5) + 1) == (100 << 5) + 1
    assert accepts(seen, (100 + (1 << 28) + 1 << 5) + 3) == (100 << 5) + 1, "beyond Delta"
    assert accepts(seen, (100 + (1 << 28) << 5) + 3) is None
    assert stat.S_IMODE((tmp_path / "sqn").stat().st_mode) == 0o600


def test_A29_of_two_threads_with_the_same_number_one_wins(tmp_path: Path) -> None:
    tmp_path.chmod(0o700)
    answers: list[int | None] = []

    def one() -> None:
        answers.append(accepts(SequenceNumbers(tmp_path / "sqn"), 64))

    threads = [threading.Thread(target=one) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answers.count(None) == 1 and answers.count(64) == 7


@pytest.mark.parametrize("content", ["garbage", "[]", "{}", json.dumps([0] * 31 + [-1]), json.dumps([0] * 31 + ["1"])])
def test_A29_a_broken_state_is_said_and_not_overwritten(tmp_path: Path, content: str) -> None:
    tmp_path.chmod(0o700)
    (tmp_path / "sqn").write_text(content)
    (tmp_path / "sqn").chmod(0o600)
    with pytest.raises(Denied, match="remove it, and let the network start afresh"):
        accepts(SequenceNumbers(tmp_path / "sqn"), 64)
    assert (tmp_path / "sqn").read_text() == content


def test_A29_a_number_that_cannot_be_kept_is_not_answered(tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match="cannot be opened"):
        accepts(SequenceNumbers(tmp_path / "missing" / "sqn"), 64)


def test_T32_no_lock_is_made_through_a_link(tmp_path: Path) -> None:
    """Fails without O_NOFOLLOW in ``KeptFile._open_lock``: a link would have us make files elsewhere."""
    (tmp_path / "sqn.lock").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(Unavailable, match="cannot be opened"):
        accepts(SequenceNumbers(tmp_path / "sqn"), 64)
    assert not (tmp_path / "elsewhere").exists()


def test_A29_a_number_that_could_not_be_written_leaves_nothing_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tmp_path.chmod(0o700)

    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(Unavailable, match="cannot be written: No space left"):
        accepts(SequenceNumbers(tmp_path / "sqn"), 64)
    assert [path.name for path in tmp_path.iterdir()] == ["sqn.lock"]


def test_A29_who_waits_for_another_process_leaves_when_told_and_at_the_deadline(tmp_path: Path) -> None:
    """Fails without the look at the signal in SequenceNumbers: a plain flock waits for ever."""
    tmp_path.chmod(0o700)
    with (tmp_path / "sqn.lock").open("w") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        cancelled = make_request()
        timer = threading.Timer(0.1, cancelled.cancel.set)
        timer.start()
        with pytest.raises(Cancelled):
            SequenceNumbers(tmp_path / "sqn").accept(64, Wait.of(cancelled))
        timer.join()
        late = make_request(deadline=time.monotonic())
        with pytest.raises(Unavailable, match="another process is still using"):
            SequenceNumbers(tmp_path / "sqn").accept(64, Wait.of(late))
    assert accepts(SequenceNumbers(tmp_path / "sqn"), 64) is None


# --- the provider -------------------------------------------------------------------------------------------------


def test_A29_it_names_its_key_only_where_aka_is_asked(options: dict[str, Any]) -> None:
    provider = made(options)
    key = provider.get(request())
    assert isinstance(key, SigningCredentials) and key.username == "imsi@ims.example"
    for other in (make_request(), make_request(scheme="bearer", algorithms=("AKAv1-MD5",))):
        with pytest.raises(NotFound):
            provider.get(other)
    shown = f"{key!r} {provider!r} {provider.describe()} {signature(provider, asks(nonce()))!r}"
    assert not any(secret in shown for secret in (K, OP, OPC, RES))


class TestTheContract(ProviderContract):
    @pytest.fixture(autouse=True)
    def _files(self, options: dict[str, Any]) -> None:
        self.options = options
        self.number = int(SQN, 16)

    def make_provider(self, context: Any) -> SimProvider:
        return SimProvider(make_context(self.options, name=context.name))

    def known(self) -> tuple[Any, str]:
        return request(), K

    def signs(self) -> tuple[DigestInput, str]:
        self.number += 33  # the next number, at the next index: the two may come in either order
        digest = asks(nonce(f"{self.number:012x}"))
        return digest, expected(digest, bytes.fromhex(RES))


def test_T33_keys_are_read_by_the_rules_of_secret_files(options: dict[str, Any]) -> None:
    Path(options["k_file"]).chmod(0o644)
    with pytest.raises(Denied, match="chmod 600"):
        made(options).get(request())


@pytest.mark.parametrize("text", ["canary-key", "ca" * 15, "ca" * 17, "ca" * 32])
def test_A29_a_key_that_is_none_and_is_not_quoted(options: dict[str, Any], text: str) -> None:
    """AES would take 32 octets as well, and compute another SIM's answers."""
    Path(options["k_file"]).write_text(text)
    with pytest.raises(Denied, match="32 hex digits") as caught:
        made(options).get(request())
    assert text not in str(caught.value)


def test_it_needs_one_of_op_and_opc(options: dict[str, Any]) -> None:
    for wrong in ({**options, "op_file": options["opc_file"]}, {k: v for k, v in options.items() if k != "opc_file"}):
        with pytest.raises(ValueError, match="either opc_file or op_file"):
            made(wrong)


def test_without_cryptography_the_next_step_is_said(options: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def without(name: str, *args: Any, **more: Any) -> Any:
        if name.startswith("cryptography"):
            raise ImportError(name)
        return real(name, *args, **more)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(Unavailable, match=r"pip install 'sipcli\[sim\]'"):
        made(options).get(request())
