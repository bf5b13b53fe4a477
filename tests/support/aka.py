"""The network's side of Digest AKA: challenges made with the key of test set 1 (3GPP TS 35.207), answers checked."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from sipcli_providers._milenage import f1, xor

K, OPC = "465b5ce8b199b49faa5f0a2ee238a6bc", "cd63cb71954a9f4e48a5994e37a02baf"
RAND, SQN, AMF = "23553cbe9637a89d218ae64dae47bf35", 0xFF9BB4D0B607, "b9b9"
MAC, RES, AK, AK_STAR = "4a9ffac354dfafb3", bytes.fromhex("a54211d5e3ba50bf"), "aa689c648370", "451e8beca43b"
CK, IK = "b40ba9a3c58b2a05bbf0d987b21bf8cb", "f769bcd751044604127672711c6d3441"
USER, REALM = "imsi@ims.example", "ims.example"


def nonce(sqn: int = SQN, mac: str | None = None) -> str:
    """RAND and AUTN.  The MAC of the published number is the published one."""
    octets = sqn.to_bytes(6, "big")
    if mac is None:
        cipher = Cipher(algorithms.AES(bytes.fromhex(K)), modes.ECB())
        block = lambda data: cipher.encryptor().update(data)  # noqa: E731
        made = f1(block, bytes.fromhex(OPC), bytes.fromhex(RAND), octets, bytes.fromhex(AMF))[0].hex()
        mac = MAC if sqn == SQN else made
    autn = xor(octets, bytes.fromhex(AK)) + bytes.fromhex(AMF + mac)
    return base64.b64encode(bytes.fromhex(RAND) + autn).decode()


def expected(challenge: str, uri: str, password: bytes = RES, *, middle: str = "", method: str = "REGISTER") -> str:
    """The response (RFC 2617 section 3.2.2); *middle* is ``nc:cnonce:qop:``, empty without qop."""

    def h(data: bytes) -> str:
        return hashlib.md5(data).hexdigest()

    ha1 = h(f"{USER}:{REALM}:".encode() + password)
    return h(f"{ha1}:{challenge}:{middle}{h(f'{method}:{uri}'.encode())}".encode())


def params(authorization: str) -> dict[str, str]:
    return {name: quoted or bare for name, quoted, bare in re.findall(r'(\w+)=(?:"([^"]*)"|([^,\s]+))', authorization)}


def proves(authorization: str, password: bytes = RES) -> bool:
    """Whether an answer with qop=auth was made with *password*."""
    given = params(authorization)
    middle = f"{given['nc']}:{given['cnonce']}:{given['qop']}:"
    return given["response"] == expected(given["nonce"], given["uri"], password, middle=middle)


def resynchronised(authorization: str) -> int:
    """The number that ``auts`` asks the network to go on from."""
    auts = base64.b64decode(params(authorization)["auts"])
    return int.from_bytes(xor(auts[:6], bytes.fromhex(AK_STAR)), "big")


def card(folder: Path, *, seen: int | None = None) -> dict[str, Any]:
    """Options of a SIM with that key, in files; *seen*: the number that it saw last."""
    folder.mkdir(mode=0o700, exist_ok=True)
    files = {"k": K, "opc": OPC}
    if seen is not None:
        files["sqn"] = json.dumps([seen >> 5 if index == seen % 32 else 0 for index in range(32)])
    for name, text in files.items():
        (folder / name).write_text(text)
        (folder / name).chmod(0o600)
    return {**{f"{name}_file": str(folder / name) for name in ("k", "opc", "sqn")}, "username": USER}
