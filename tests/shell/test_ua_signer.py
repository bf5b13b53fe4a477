"""The example of a key in a process of its own: a real signer, a real socket, a registrar that checks what it signs."""

from __future__ import annotations

import contextlib
import hashlib
import socket
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from examples.signer import SignerProvider
from sipcli.credentials import CredentialProvider, CredentialRequest, Denied, DigestInput, ProviderContext, Unavailable
from sipcli.errors import NoCredentials
from sipcli.testing import ProviderContract, ask, make_context, make_request
from tests.support.agentkit import site
from tests.support.clock import stepped
from tests.support.signkit import response

ROOT = Path(__file__).parents[2]
HA1 = {name: hashlib.new(name, b"alice:sandbox:wonderland").hexdigest() for name in ("md5", "sha256")}


@contextlib.contextmanager
def running(folder: Path) -> Iterator[Path]:
    """A signer with two keys of alice; where its socket is."""
    keys, place = folder / "keys", folder / "s" / "socket"
    keys.write_text(f"alice:sandbox:SHA-256:{HA1['sha256']}\nalice:sandbox:MD5:{HA1['md5']}\n")
    keys.chmod(0o600)
    argv = [sys.executable, str(ROOT / "examples" / "signer.py"), "--keys", str(keys), "--socket", str(place)]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, cwd=ROOT, text=True) as process:
        try:
            assert process.stdout is not None and process.stdout.readline() == "ready\n"
            yield place
        finally:
            process.terminate()
    assert not place.exists()


def provider(place: Path, name: str = "p") -> SignerProvider:
    return SignerProvider(make_context({"socket": str(place)}, name=name))


def known() -> CredentialRequest:
    return make_request(username="alice", realm="sandbox")


class TestTheContract(ProviderContract):
    @pytest.fixture(autouse=True)
    def _signer(self, tmp_path: Path) -> Iterator[None]:
        self.folder = tmp_path
        with running(tmp_path) as self.place:
            yield

    def make_provider(self, context: ProviderContext) -> CredentialProvider:
        return provider(self.place, context.name)

    def known(self) -> tuple[CredentialRequest, str]:
        return known(), HA1["sha256"]

    def unknown(self) -> CredentialRequest:
        return make_request(username="bob")

    def signs(self) -> tuple[DigestInput, str]:
        digest = DigestInput(
            username="alice", realm="sandbox", nonce="n", algorithm="SHA-256-sess", method="INVITE", uri="sip:b",
            qop="auth-int", nc="00000001", cnonce="c", body_hash="0" * 64,
        )  # fmt: skip
        return digest, response(digest, "wonderland")

    @contextlib.contextmanager
    def _hanging(self) -> Iterator[tuple[CredentialProvider, CredentialRequest]]:
        with socket.socket(socket.AF_UNIX) as mute:
            mute.bind(str(self.folder / "mute"))
            mute.listen()
            yield provider(self.folder / "mute"), known()

    def hanging(self) -> contextlib.AbstractContextManager[tuple[CredentialProvider, CredentialRequest]]:
        return self._hanging()

    def test_nobody_else_reaches_it(self) -> None:
        assert stat.S_IMODE(self.place.stat().st_mode) == 0o600
        assert stat.S_IMODE(self.place.parent.stat().st_mode) == 0o700

    def test_it_signs_in_the_realm_of_the_key_alone(self) -> None:
        digest, _ = self.signs()
        fields: dict[str, Any] = {name: getattr(digest, name) for name in digest.__dataclass_fields__}
        signer, elsewhere = provider(self.place), DigestInput(**fields | {"realm": "elsewhere"})
        with pytest.raises(Denied, match="no SHA-256-sess key for this realm"):
            signer.sign(known(), signer.get(known()), elsewhere)


@stepped
async def test_a_registrar_takes_what_the_signer_signed(tmp_path: Path) -> None:
    with running(tmp_path) as place:
        for algorithms in (("SHA-256",), ("MD5",)):
            async with site(provider(place), box={"algorithms": algorithms, "auth_info": True}) as s:  # type: ignore[arg-type]
                await s.account().register()
                assert len(s.box.bindings("alice")) == 1


@stepped
async def test_without_a_key_of_that_realm_nothing_is_sent(tmp_path: Path) -> None:
    with running(tmp_path) as place:
        async with site(provider(place), box={"realms": ("elsewhere",)}) as s:  # type: ignore[arg-type]
            with pytest.raises(NoCredentials):
                await s.account().register()
            assert s.sent("REGISTER") == 1


def test_a_signer_that_is_not_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match="start it"):
        ask(provider(tmp_path / "nowhere"), known())
