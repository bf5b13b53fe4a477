"""A test CA and certificates with one thing right or wrong each, made by the ``openssl`` command (1.1.1 or newer)."""

from __future__ import annotations

import atexit
import functools
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Authority", "Leaf", "certificates", "make_ca"]

_ALWAYS = ("20200101000000Z", "20491231235959Z")

_ADDRESSES = "IP:127.0.0.1,IP:::1,IP:10.77.0.2"
"""The last is a host of its own (tests/support/netns.py)."""


@dataclass(frozen=True)
class Leaf:
    """A certificate and its key, PEM."""

    cert_file: Path
    key_file: Path


class Authority:
    """A directory with ``ca.pem``, a stranger's ``other-ca.pem``, and leaves made when first asked for."""

    KINDS: dict[str, tuple[str, str, tuple[str, str], str]] = {
        # name: subject, subjectAltName, first and last day, issuer
        "good": ("/CN=sip.test", f"DNS:sip.test,URI:sip:sip.test,DNS:localhost,{_ADDRESSES}", _ALWAYS, "ca"),
        "strict": ("/CN=sip.test", "DNS:sip.test,URI:sip:sip.test", _ALWAYS, "ca"),
        "expired": ("/CN=sip.test", "DNS:sip.test,URI:sip:sip.test", (_ALWAYS[0], "20210101000000Z"), "ca"),
        "wrong": ("/CN=other.test", "DNS:other.test,URI:sip:other.test", _ALWAYS, "ca"),
        "wildcard": ("/CN=*.sip.test", "DNS:*.sip.test", _ALWAYS, "ca"),
        "cnonly": ("/CN=sip.test", "", _ALWAYS, "ca"),
        "urionly": ("/CN=whoever", "URI:sip:sip.test", _ALWAYS, "ca"),
        "dnsuri": ("/CN=sip.test", "DNS:sip.test,URI:sip:other.test", _ALWAYS, "ca"),
        "foreign": ("/CN=sip.test", "DNS:sip.test,URI:sip:sip.test", _ALWAYS, "other-ca"),
        "selfsigned": ("/CN=sip.test", "DNS:sip.test,URI:sip:sip.test,IP:127.0.0.1", _ALWAYS, "selfsigned"),
        "mallory": ("/CN=localhost", "DNS:localhost", _ALWAYS, "ca"),
        "client": ("/CN=alice", "URI:sip:alice@sip.test", _ALWAYS, "ca"),
    }

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        for name in ("ca", "other-ca"):
            self._key(name)
            self._openssl(
                *("req", "-x509", "-new", "-key", f"{name}.key", "-subj", f"/CN=test {name}", "-days", "3650"),
                *("-addext", "keyUsage=critical,keyCertSign,cRLSign", "-out", f"{name}.pem"),
            )

    @property
    def ca_file(self) -> Path:
        return self.folder / "ca.pem"

    def leaf(self, kind: str) -> Leaf:
        made = Leaf(self.folder / f"{kind}.pem", self.folder / f"{kind}.key")
        if not made.cert_file.exists():
            self._make(kind)
        return made

    def _make(self, kind: str) -> None:
        subject, names, (first, last), issuer = self.KINDS[kind]
        self._key(kind)
        self._openssl("req", "-new", "-key", f"{kind}.key", "-subj", subject, "-out", f"{kind}.csr")
        usage = "clientAuth" if kind == "client" else "serverAuth"
        # Python 3.13 checks strictly (RFC 5280 section 4.2.1.1): a leaf must name its authority's key.
        extensions = f"basicConstraints=CA:FALSE\nkeyUsage=digitalSignature\nextendedKeyUsage={usage}\n" + (
            "" if issuer == kind else "authorityKeyIdentifier=keyid:always\n"
        )
        (self.folder / f"{kind}.ext").write_text(extensions + (f"subjectAltName={names}\n" if names else ""))
        # Only `openssl ca` takes both dates in every version; it wants a database.
        (self.folder / f"{kind}.index").touch()
        (self.folder / f"{kind}.cnf").write_text(
            f"[ca]\ndefault_ca=c\n[c]\ndatabase={kind}.index\nrand_serial=yes\nnew_certs_dir=.\n"
            "default_md=sha256\npolicy=p\nunique_subject=no\n[p]\ncommonName=supplied\n"
        )
        self._openssl(
            *("ca", "-batch", "-notext", "-config", f"{kind}.cnf"),
            *(("-selfsign",) if issuer == kind else ("-cert", f"{issuer}.pem")),
            *("-keyfile", f"{issuer}.key", "-in", f"{kind}.csr", "-extfile", f"{kind}.ext"),
            *("-startdate", first, "-enddate", last, "-out", f"{kind}.pem"),
        )

    def _key(self, name: str) -> None:
        self._openssl("ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", f"{name}.key")

    def _openssl(self, *arguments: str) -> None:
        done = subprocess.run(["openssl", *arguments], cwd=self.folder, capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"openssl {' '.join(arguments)}\n{done.stderr}"


@functools.cache
def certificates() -> Authority:
    """One authority per test process; its directory goes with the process."""
    folder = Path(tempfile.mkdtemp(prefix="sipcli-certs-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return Authority(folder)


def make_ca(folder: Path) -> Path:
    """``ca.pem``, every leaf as ``NAME.pem`` and ``NAME.key`` in *folder*, for servers that read files; returns it."""
    folder.mkdir(parents=True, exist_ok=True)
    authority = Authority(folder)
    for kind in Authority.KINDS:
        authority.leaf(kind)
    return folder
