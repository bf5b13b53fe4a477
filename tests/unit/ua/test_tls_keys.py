"""Our own private key: whoever may read it, and in what state it is of use (T15)."""

from __future__ import annotations

import shutil
import ssl
from pathlib import Path

import pytest

from sipcli.errors import TlsError
from sipcli.ua.net.tls import TlsSettings, client_context, error_words, server_context, web_context
from tests.support.certs import certificates
from tests.support.real import require


@pytest.fixture
def key(tmp_path: Path) -> Path:
    require("openssl")
    return Path(shutil.copy(certificates().leaf("client").key_file, tmp_path / "client.key"))


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o604, 0o620, 0o602])
def test_T15_a_key_that_others_may_read_or_write_is_refused(key: Path, mode: int) -> None:
    """Fails without the check of the mode in ``_judge_key``."""
    key.chmod(mode)
    settings = TlsSettings(cert_file=certificates().leaf("client").cert_file, key_file=key)
    for make in (client_context, server_context):
        with pytest.raises(TlsError, match=rf"can be read by others \(mode {mode:04o}\): chmod 600"):
            make(settings)


def test_T15_our_own_is_taken(key: Path) -> None:
    key.chmod(0o600)
    client_context(TlsSettings(cert_file=certificates().leaf("client").cert_file, key_file=key))


def test_a_key_that_is_not_there(tmp_path: Path) -> None:
    settings = TlsSettings(cert_file=tmp_path / "a.pem", key_file=tmp_path / "b.key")
    with pytest.raises(TlsError, match=r"the key .*b\.key cannot be read: no such file"):
        client_context(settings)


def test_T31_the_keys_of_a_turn_server_go_where_no_environment_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Fails with ``ssl.create_default_context``, which writes them to ``SSLKEYLOGFILE``."""
    monkeypatch.setenv("SSLKEYLOGFILE", str(tmp_path / "keys"))
    for context in (web_context(None), web_context(certificates().ca_file)):
        assert context.keylog_filename is None
        assert context.check_hostname and context.verify_mode is ssl.CERT_REQUIRED
        assert context.minimum_version >= ssl.TLSVersion.TLSv1_2
    with pytest.raises(OSError):
        web_context(tmp_path / "no.pem")


def test_the_number_of_a_tls_error_is_not_one_of_the_system() -> None:
    """5 is SSL_ERROR_SYSCALL, and was told as EIO."""
    error = ssl.SSLError(5, "[BIO] system lib (_ssl.c:2580)")
    error.library, error.reason = "BIO", None  # as OpenSSL has it
    assert error_words(error) == "[bio] system lib"
    assert error_words(ConnectionRefusedError(111, "Connection refused")) == "connection refused"
