"""``--keylog FILE``: the keys of SIP over TLS, for whoever was told of it, and nobody else."""

from __future__ import annotations

import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.certs import certificates
from tests.support.cli import Cli
from tests.support.real import require


@pytest.fixture(scope="module")
def secure(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The target of a ping, over TLS."""
    require("openssl")
    leaf = certificates().leaf("good")
    server = Cli(tmp_path_factory.mktemp("secure")).start(
        "sandbox", "--json", "--cert", str(leaf.cert_file), "--key", str(leaf.key_file)
    )
    try:
        [port] = [at["port"] for at in server.wait_for("ready")["listen"] if at["transport"] == "tls"]
        yield f"sip:127.0.0.1:{port};transport=tls"
    finally:
        server.kill()


def ping(cli: Cli, target: str, key_log: Path, *more: str) -> tuple[int, str, list[str]]:
    """(exit status, stderr, lines of the key log)."""
    done = cli.run("options", target, "--ca", str(certificates().ca_file), "--keylog", str(key_log), *more)
    return done.code, done.stderr, key_log.read_text().splitlines()


def test_T32_keys_are_added_to_a_file_of_ours_alone_and_it_is_said(cli: Cli, secure: str, tmp_path: Path) -> None:
    """Fails without ``fchmod`` in ``open_private``."""
    path = tmp_path / "keys"
    path.write_text("# kept\n")
    path.chmod(0o666)
    code, said, lines = ping(cli, secure, path)
    assert code == 0, said
    assert f"whoever has {path} can read what goes over TLS" in said
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert lines[0] == "# kept"
    randoms = {line.split(" ")[1] for line in lines[1:] if not line.startswith("#")}
    assert len(randoms) == 1
    again = ping(cli, secure, path)[2]
    assert again[: len(lines)] == lines
    assert len({line.split(" ")[1] for line in again if not line.startswith("#")}) == 2


def test_T32_never_through_a_link(cli: Cli, secure: str, tmp_path: Path) -> None:
    """Fails without ``O_NOFOLLOW`` in ``open_private`` where the link leads nowhere yet."""
    path, other = tmp_path / "keys", tmp_path / "precious"
    path.symlink_to(other)
    done = cli.run("options", secure, "--keylog", str(path))
    assert done.code == 2
    assert f"{path} is a link: a key log is not written through one" in done.stderr
    assert not other.exists()


def test_programs_are_warned_in_an_event(cli: Cli, secure: str, tmp_path: Path) -> None:
    done = cli.run(
        *("options", secure, "--ca", str(certificates().ca_file)), *("--keylog", str(tmp_path / "keys"), "--json")
    )
    assert done.code == 0, done.stderr
    [warning] = done.named("warning")
    assert warning["code"] == "key-log"
    assert str(tmp_path / "keys") in warning["message"]


def test_T31_the_environment_is_ignored_beside_it(cli: Cli, secure: str, tmp_path: Path) -> None:
    """Fails with ``ssl.create_default_context`` in ``client_context``."""
    cli.env["SSLKEYLOGFILE"] = str(tmp_path / "environment")
    code, said, lines = ping(cli, secure, tmp_path / "keys")
    assert code == 0, said
    assert lines
    done = cli.run("options", secure, "--ca", str(certificates().ca_file))
    assert done.code == 0, done.stderr
    assert "can read what goes over TLS" not in done.stderr
    assert not (tmp_path / "environment").exists()


@pytest.mark.parametrize(
    ("blocks", "status", "words"),
    [
        (0, 2, "the key log {path} cannot be written: "),  # known at the start: nothing is sent
        (1, 7, "the key log cannot be written: its disk is full, most likely"),  # 512 octets, and a handshake has more
    ],
)
def test_a_full_disk_is_a_sentence(blocks: int, status: int, words: str, cli: Cli, secure: str, tmp_path: Path) -> None:
    """The kernel refuses (``ulimit -f``), as where a disk is full; no module's cache may be cut short by it."""
    path = tmp_path / "keys"
    cli.env["PYTHONDONTWRITEBYTECODE"] = "1"
    argv = cli.argv("options", secure, "--ca", str(certificates().ca_file), "--keylog", str(path))
    done = subprocess.run(
        ["sh", "-c", f'ulimit -f {blocks} && exec "$@"', "sh", *argv],
        env=cli.env, cwd=cli.home, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=40, check=False,
        start_new_session=True,
    )  # fmt: skip
    assert done.returncode == status, done.stderr
    sentence, step = done.stderr.splitlines()[-2:]
    assert words.format(path=path) in sentence
    assert step.strip() == "make room, name another place, or leave --keylog out"
