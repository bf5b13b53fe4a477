"""Who may have written the configuration (threat T15): modes, owners, links, folders."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from sipcli.config import load_config
from sipcli.errors import ConfigError

TEXT = '[accounts.work]\naor = "sip:alice@example.com"\n'


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "config.toml"
    path.write_text(TEXT)
    path.chmod(0o600)
    return path


@pytest.mark.parametrize("mode", [0o400, 0o600, 0o640, 0o644, 0o700])
def test_modes_that_let_nobody_else_write(file: Path, mode: int) -> None:
    file.chmod(mode)
    assert "work" in load_config(file).accounts


@pytest.mark.parametrize("mode", [0o602, 0o620, 0o622, 0o664, 0o666, 0o777])
def test_T15_modes_that_let_others_write_are_refused(file: Path, mode: int) -> None:
    file.chmod(mode)
    with pytest.raises(ConfigError, match="can be written by others") as caught:
        load_config(file)
    assert caught.value.hint == f"chmod go-w {file}"


def test_T15_a_link_is_followed_and_its_target_judged(file: Path, tmp_path: Path) -> None:
    link = tmp_path / "link.toml"
    link.symlink_to(file)
    assert "work" in load_config(link).accounts
    file.chmod(0o666)
    with pytest.raises(ConfigError, match="written by others"):
        load_config(link)


def test_T15_a_folder_that_everybody_can_write_is_refused_unless_sticky(file: Path) -> None:
    file.parent.chmod(0o777)
    with pytest.raises(ConfigError, match="everybody can write"):
        load_config(file)
    file.parent.chmod(0o1777)
    assert "work" in load_config(file).accounts


def test_T15_the_folder_of_a_links_target_counts_too(file: Path, tmp_path: Path) -> None:
    open_folder = tmp_path / "open"
    open_folder.mkdir()
    moved = file.rename(open_folder / "real.toml")
    link = tmp_path / "link.toml"
    link.symlink_to(moved)
    open_folder.chmod(0o777)
    with pytest.raises(ConfigError, match="everybody can write"):
        load_config(link)


def test_T15_somebody_elses_file_is_refused(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if os.geteuid() == 0:
        os.chown(file, 12345, -1)
    else:  # only root can give files away; anybody can become somebody else in a test
        monkeypatch.setattr("os.geteuid", lambda: 12345)
    with pytest.raises(ConfigError, match="somebody else"):
        load_config(file)


def test_a_file_that_cannot_be_read(file: Path) -> None:
    file.chmod(0)
    if os.geteuid() == 0:  # root reads everything
        os.seteuid(65534)
    try:
        with pytest.raises(ConfigError, match="cannot be read: Permission denied"):
            load_config(file)
    finally:
        if os.getuid() == 0:
            os.seteuid(0)


def test_a_pipe_does_not_hang(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe", 0o600)
    with pytest.raises(ConfigError, match="not a regular file"):
        load_config(tmp_path / "pipe")


def test_a_directory_is_no_configuration(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="not a regular file"):
        load_config(tmp_path)


def test_octets_that_are_no_text(file: Path) -> None:
    file.write_bytes(b"# \xff\n")
    with pytest.raises(ConfigError, match="not UTF-8: octet 2"):
        load_config(file)


def test_a_huge_file(file: Path) -> None:
    file.write_text("#" * (1 << 20) + "\n")
    with pytest.raises(ConfigError, match="larger than 1 MiB"):
        load_config(file)


def test_a_loop_of_links(tmp_path: Path) -> None:
    (tmp_path / "a").symlink_to(tmp_path / "b")
    (tmp_path / "b").symlink_to(tmp_path / "a")
    with pytest.raises(ConfigError, match="cannot be read"):
        load_config(tmp_path / "a")
