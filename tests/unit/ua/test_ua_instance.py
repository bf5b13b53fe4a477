"""The name of a phone among an account's devices, and two phones at once (RFC 5626 section 4.1)."""

from __future__ import annotations

import re
from pathlib import Path

from sipcli.ua.instance import Instance

ALICE = "sip:alice@example.com"


def test_C05_the_name_is_the_same_when_we_come_back(tmp_path: Path) -> None:
    first = Instance(tmp_path / "state")
    name = first.urn(ALICE)
    assert re.fullmatch(r"urn:uuid:[0-9a-f]{8}-[0-9a-f]{4}-5[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}", name)
    first.close()
    second = Instance(tmp_path / "state")
    assert second.urn(ALICE) == name
    second.close()
    assert (tmp_path / "state" / "instance.0").stat().st_mode & 0o777 == 0o600


def test_C05_two_at_once_have_two_names(tmp_path: Path) -> None:
    """With one name the registrar would take the second's binding for the first's, and its end for the first's end."""
    first, second = Instance(tmp_path), Instance(tmp_path)
    names = first.urn(ALICE), second.urn(ALICE)
    assert names[0] != names[1]
    first.close()
    third = Instance(tmp_path)
    assert third.urn(ALICE) == names[0]
    third.close()
    second.close()


def test_two_accounts_cannot_be_compared(tmp_path: Path) -> None:
    phone = Instance(tmp_path)
    assert phone.urn(ALICE) != phone.urn("sip:alice@example.net")
    phone.close()


def test_without_a_place_it_has_a_name_for_this_run(tmp_path: Path) -> None:
    assert Instance(None).urn(ALICE) != Instance(None).urn(ALICE)
    (tmp_path / "file").write_text("")
    assert Instance(tmp_path / "file").urn(ALICE).startswith("urn:uuid:")


def test_a_damaged_file_is_begun_anew(tmp_path: Path) -> None:
    (tmp_path / "instance.0").write_text("nonsense\n")
    first = Instance(tmp_path)
    name = first.urn(ALICE)
    first.close()
    assert Instance(tmp_path).urn(ALICE) == name


def test_a_link_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").write_text("")
    (tmp_path / "state").mkdir()
    (tmp_path / "state" / "instance.0").symlink_to(tmp_path / "elsewhere")
    Instance(tmp_path / "state").urn(ALICE)
    assert (tmp_path / "elsewhere").read_text() == ""
