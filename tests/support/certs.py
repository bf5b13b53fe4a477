"""A test authority and ten certificates, good and bad, made by openssl."""

from __future__ import annotations

import subprocess
from pathlib import Path

_ALWAYS = ("20200101000000Z", "20491231235959Z")
_PAST = ("20200101000000Z", "20210101000000Z")

# name: (subject, subjectAltName, validity, authority).  RFC 5922 section 7.2 decides which of them are good for SIP.
_LEAVES: dict[str, tuple[str, str, tuple[str, str], str]] = {
    "good": ("sip.test", "DNS:sip.test,URI:sip:sip.test,IP:127.0.0.1,IP:::1,DNS:localhost", _ALWAYS, "ca"),
    "strict": ("sip.test", "DNS:sip.test,URI:sip:sip.test", _ALWAYS, "ca"),
    "expired": ("sip.test", "DNS:sip.test,URI:sip:sip.test", _PAST, "ca"),
    "wrong": ("other.test", "DNS:other.test,URI:sip:other.test", _ALWAYS, "ca"),
    "wildcard": ("*.sip.test", "DNS:*.sip.test", _ALWAYS, "ca"),
    "cnonly": ("sip.test", "", _ALWAYS, "ca"),
    "urionly": ("whoever", "URI:sip:sip.test", _ALWAYS, "ca"),
    "dnsuri": ("sip.test", "DNS:sip.test,URI:sip:other.test", _ALWAYS, "ca"),
    "foreign": ("sip.test", "DNS:sip.test,URI:sip:sip.test,IP:127.0.0.1", _ALWAYS, "other-ca"),
    "client": ("alice", "URI:sip:alice@sip.test", _ALWAYS, "ca"),
}


def make_ca(directory: Path) -> Path:
    """``ca.pem``, ``other-ca.pem`` and every leaf as ``NAME.pem`` and ``NAME.key`` in *directory*; returns it."""
    directory.mkdir(parents=True, exist_ok=True)
    for authority in ("ca", "other-ca"):
        _authority(directory, authority)
    for name, (subject, alternatives, validity, authority) in _LEAVES.items():
        _leaf(directory, name, subject, alternatives, validity, authority)
    return directory


def _authority(directory: Path, name: str) -> None:
    _key(directory, name)
    usage = ("-addext", "basicConstraints=critical,CA:TRUE", "-addext", "keyUsage=critical,keyCertSign,cRLSign")
    subject = ("-subj", f"/CN=sipcli test {name}", "-days", "3650")
    _openssl(directory, "req", "-x509", "-new", "-key", f"{name}.key", *subject, "-out", f"{name}.pem", *usage)
    database = directory / f"db-{name}"
    database.mkdir(exist_ok=True)
    (database / "index").touch()
    (database / "serial").write_text("1000\n")


def _leaf(
    directory: Path, name: str, subject: str, alternatives: str, validity: tuple[str, str], authority: str
) -> None:
    _key(directory, name)
    _openssl(directory, "req", "-new", "-key", f"{name}.key", "-subj", f"/CN={subject}", "-out", f"{name}.csr")
    # Python 3.13 checks strictly (RFC 5280 section 4.2.1.1): a leaf must name its authority's key.
    extensions = ["basicConstraints=CA:FALSE", "keyUsage=digitalSignature", "authorityKeyIdentifier=keyid:always"]
    extensions.append(f"extendedKeyUsage={'clientAuth' if name == 'client' else 'serverAuth'}")
    if alternatives:
        extensions.append(f"subjectAltName={alternatives}")
    (directory / f"{name}.ext").write_text("\n".join(extensions) + "\n")
    database = f"db-{authority}"
    (directory / f"{name}.cnf").write_text(
        f"[ca]\ndefault_ca=c\n[c]\ndatabase={database}/index\nserial={database}/serial\nnew_certs_dir={database}\n"
        "default_md=sha256\npolicy=p\nunique_subject=no\n[p]\ncommonName=supplied\n"
    )
    signer = ("-config", f"{name}.cnf", "-cert", f"{authority}.pem", "-keyfile", f"{authority}.key")
    dates = ("-startdate", validity[0], "-enddate", validity[1])
    files = ("-in", f"{name}.csr", "-extfile", f"{name}.ext", "-out", f"{name}.pem")
    _openssl(directory, "ca", "-batch", "-notext", *signer, *files, *dates)
    for suffix in ("csr", "ext", "cnf"):
        (directory / f"{name}.{suffix}").unlink()


def _key(directory: Path, name: str) -> None:
    _openssl(directory, "ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", f"{name}.key")
    (directory / f"{name}.key").chmod(0o600)


def _openssl(directory: Path, *arguments: str) -> None:
    done = subprocess.run(["openssl", *arguments], cwd=directory, capture_output=True, text=True, timeout=30)
    assert done.returncode == 0, f"openssl {arguments[0]}: {done.stderr}"
