"""A SIM in files: answers Digest AKA (RFC 3310, RFC 4169) by signing, so that its keys stay here."""

from __future__ import annotations

import base64
import binascii
import hmac
from pathlib import Path

from sipcli.credentials import (
    CredentialRequest,
    Denied,
    DigestInput,
    NotFound,
    ProviderContext,
    Signature,
    SigningCredentials,
    Unavailable,
)
from sipcli_providers._digest import sign
from sipcli_providers._lookup import user_of
from sipcli_providers._milenage import Block, Vector, f1, f2345, make_opc, xor
from sipcli_providers._options import Options
from sipcli_providers._patience import Wait
from sipcli_providers._secretfile import read_secret
from sipcli_providers._sequence import SequenceNumbers

_ALGORITHMS = ("AKAv1-MD5", "AKAv2-MD5")
_RESYNC_AMF = bytes(2)  # TS 33.102 section 6.3.3: AMF counts as zero in AUTS


class SimProvider:
    """``type = "sim"``: ``k_file``, ``opc_file`` or ``op_file``, ``sqn_file``; ``username`` is the private identity."""

    interactive = False

    def __init__(self, context: ProviderContext) -> None:
        self.name = context.name
        options = Options(context.options, where=f"[providers.{context.name}]")
        self._k_file = options.required_file("k_file")
        self._op_file, self._opc_file = options.file("op_file"), options.file("opc_file")
        if (self._op_file is None) == (self._opc_file is None):
            raise ValueError(f"{options.where} needs either opc_file or op_file: the operator's part of the key")
        self._username = options.optional("username")
        self._seen = SequenceNumbers(options.required_file("sqn_file"))
        options.done()

    def get(self, request: CredentialRequest) -> SigningCredentials:
        """The name of the key.  Raises NotFound unless AKA is asked for, Denied if a file cannot be trusted."""
        request.cancel.raise_if_set()
        if request.scheme != "digest" or not set(_ALGORITHMS) & set(request.algorithms):
            raise NotFound(f"{self.name} is a SIM, and the server does not ask for AKA")
        self._block()
        return SigningCredentials(
            self._username or user_of(request), algorithms=_ALGORITHMS, ref=f"{self.name}:{self._k_file}"
        )

    def sign(self, request: CredentialRequest, credentials: SigningCredentials, digest: DigestInput) -> Signature:
        """RES as the password; AUTS for a number that is not new.  Raises Denied for a network that lacks our key."""
        request.cancel.raise_if_set()
        rand, autn = _read_nonce(digest.nonce)
        block = self._block()
        opc = self._opc(block)
        vector = f2345(block, opc, rand)
        sqn, amf, mac = xor(autn[:6], vector.ak), autn[6:8], autn[8:]
        if not hmac.compare_digest(f1(block, opc, rand, sqn, amf)[0], mac):
            raise Denied(
                f"the server does not know the key of {self.name}: it is not the SIM's network, or K/OPc is wrong"
            )
        highest = self._seen.accept(int.from_bytes(sqn, "big"), Wait.of(request))
        if highest is not None:
            ours = highest.to_bytes(6, "big")
            auts = xor(ours, vector.ak_star) + f1(block, opc, rand, ours, _RESYNC_AMF)[1]
            return sign(digest, b"", auts=base64.b64encode(auts).decode("ascii"))
        return sign(digest, _password(digest.algorithm, vector))

    def describe(self) -> str:
        return f"SIM in {self._k_file}"

    def _block(self) -> Block:
        try:
            from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
        except ImportError as error:
            raise Unavailable(
                f"{self.name} needs the package cryptography: pip install 'sipcli[sim]'", retry_after=3600.0
            ) from error
        cipher = Cipher(algorithms.AES(_read_key(self._k_file)), modes.ECB())  # noqa: S305 - one block is the cipher itself
        return lambda value: cipher.encryptor().update(value)

    def _opc(self, block: Block) -> bytes:
        if self._opc_file is not None:
            return _read_key(self._opc_file)
        assert self._op_file is not None  # __init__ wants one of them
        return make_opc(block, _read_key(self._op_file))


def _read_key(path: Path) -> bytes:
    try:
        key = bytes.fromhex(read_secret(path).reveal().decode("ascii"))
    except ValueError:
        key = b""
    if len(key) != 16:
        raise Denied(f"{path} must hold 32 hex digits and nothing else")
    return key


def _read_nonce(nonce: str) -> tuple[bytes, bytes]:
    """RAND and AUTN; what follows them is the server's own (RFC 3310 section 3.2)."""
    try:
        octets = base64.b64decode(nonce + "=" * (-len(nonce) % 4), validate=True)
    except (binascii.Error, ValueError):
        octets = b""
    if len(octets) < 32:
        raise Denied("the server's nonce holds no AKA challenge")
    return octets[:16], octets[16:32]


def _password(algorithm: str, vector: Vector) -> bytes:
    if algorithm == "AKAv1-MD5":
        return vector.res
    # RFC 4169 section 3: bound to its use, so that a RES from elsewhere does not serve here.
    key = vector.res + vector.ik + vector.ck
    return base64.b64encode(hmac.digest(key, b"http-digest-akav2-password", "md5"))
