"""ICE in SDP: what is written, what is read, and what is not believed (RFC 8839)."""

from __future__ import annotations

import pytest

from sipcli.media.candidates import (
    Candidate,
    IceMismatch,
    LocalIce,
    PeerIce,
    Selected,
    find_ice,
    parse_candidate,
    priority_of,
)
from sipcli.media.sdp import parse_sdp

HOST = "1 1 UDP 2130706431 203.0.113.141 8998 typ host"
REFLEXIVE = "2 1 UDP 1694498815 192.0.2.3 45664 typ srflx raddr 203.0.113.141 rport 8998"

# RFC 8839 section 4.2.6 gives this one, but for the codec.
EXAMPLE = f"""v=0
o=jdoe 2890844526 2890842807 IN IP4 203.0.113.141
s=
c=IN IP4 192.0.2.3
t=0 0
a=ice-options:ice2
a=ice-pacing:50
a=ice-pwd:asd88fgpdd777uzjYhagZg
a=ice-ufrag:8hhY
m=audio 45664 RTP/AVP 0
b=RS:0
b=RR:0
a=rtpmap:0 PCMU/8000
a=candidate:{HOST}
a=candidate:{REFLEXIVE}
"""


def _find(text: str, *, mux: bool = True) -> PeerIce | IceMismatch | None:
    description = parse_sdp(text.encode())
    return find_ice(description, description.media[0], mux=mux)


def test_E04_the_example_of_rfc_8839_is_understood() -> None:
    found = _find(EXAMPLE)
    assert isinstance(found, PeerIce)
    assert (found.ufrag, found.pwd, found.lite, found.ice2) == ("8hhY", "asd88fgpdd777uzjYhagZg", False, True)
    assert found.candidates == (
        Candidate("1", 1, 2130706431, "203.0.113.141", 8998, "host"),
        Candidate("2", 1, 1694498815, "192.0.2.3", 45664, "srflx", ("203.0.113.141", 8998)),
    )
    assert "asd88" not in repr(found)


def test_E04_priorities_are_those_of_the_formula() -> None:
    """The numbers of RFC 8839's example; and host before peer-reflexive before reflexive before relayed, RTP first."""
    assert priority_of("host", 1) == 2130706431
    assert priority_of("srflx", 1) == 1694498815
    order = [priority_of(kind, part) for kind in ("host", "prflx", "srflx", "relay") for part in (1, 2)]  # type: ignore[arg-type]
    assert order == sorted(order, reverse=True)
    assert priority_of("host", 1, 65534) < priority_of("host", 2, 65535)


@pytest.mark.parametrize("text", [HOST, REFLEXIVE])
def test_E04_a_candidate_comes_back_as_it_was(text: str) -> None:
    found = parse_candidate(text)
    assert found is not None
    assert found.attribute().value == text


@pytest.mark.parametrize(
    "text",
    [
        "",
        "1 1 TCP 2105458943 192.0.2.1 9 typ host tcptype active",
        "1 1 UDP 2130706431 f3a1.local 8998 typ host",
        "1 1 UDP 2130706431 192.0.2.1 0 typ host",
        "1 1 UDP 2130706431 192.0.2.1 65536 typ host",
        "1 0 UDP 2130706431 192.0.2.1 4000 typ host",
        "1 1 UDP 2147483648 192.0.2.1 4000 typ host",
        "1 1 UDP -1 192.0.2.1 4000 typ host",
        "1 1 UDP 1 192.0.2.1 4000 kind host",
        "1 1 UDP 1 192.0.2.1 4000 typ unheard-of",
        "1 1 UDP 1 fe80::1%eth0 4000 typ host",
        f"{'x' * 33} 1 UDP 1 192.0.2.1 4000 typ host",
        "1 1 UDP \u0661 192.0.2.1 4000 typ host",
    ],
)
def test_E04_what_is_no_candidate_of_ours_is_passed_over(text: str) -> None:
    assert parse_candidate(text) is None


def test_E04_a_default_that_is_no_candidate_was_rewritten_on_the_way() -> None:
    """An ALG changes ``c=`` and ``m=``, and leaves what it does not know (RFC 8839 section 4.2.5)."""
    for changed in (
        EXAMPLE.replace("c=IN IP4 192.0.2.3", "c=IN IP4 198.51.100.9"),
        EXAMPLE.replace("45664 RTP", "7 RTP"),
    ):
        found = _find(changed)
        assert isinstance(found, IceMismatch)
        assert "rewrote" in found.why


def test_E04_a_rewritten_rtcp_address_counts_where_rtcp_has_its_own() -> None:
    second = "a=candidate:1 2 UDP 2130706430 203.0.113.141 8999 typ host\na=rtcp:8999 IN IP4 203.0.113.141\n"
    assert isinstance(_find(EXAMPLE + second, mux=False), PeerIce)
    changed = EXAMPLE + second.replace("rtcp:8999", "rtcp:4711")
    assert isinstance(_find(changed, mux=False), IceMismatch)
    assert isinstance(_find(changed, mux=True), PeerIce)


@pytest.mark.parametrize("where", ["0.0.0.0", "phone.example.com"])
def test_E04_a_name_and_nowhere_are_no_mismatch(where: str) -> None:
    found = _find(EXAMPLE.replace("c=IN IP4 192.0.2.3", f"c=IN IP4 {where}").replace("audio 45664", "audio 9"))
    assert isinstance(found, PeerIce)


def test_E04_they_may_say_that_ours_were_rewritten() -> None:
    assert isinstance(_find(EXAMPLE + "a=ice-mismatch\n"), IceMismatch)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("a=ice-pwd:asd88fgpdd777uzjYhagZg\n", ""),
        ("asd88fgpdd777uzjYhagZg", "short"),
        ("asd88fgpdd777uzjYhagZg", "asd88fgpdd777uzjYhag:g"),
        ("a=ice-ufrag:8hhY\n", ""),
        ("8hhY", "8hh"),
        (f"a=candidate:{HOST}\na=candidate:{REFLEXIVE}\n", ""),
    ],
)
def test_E04_without_good_credentials_there_is_no_ice(old: str, new: str) -> None:
    assert old in EXAMPLE
    assert _find(EXAMPLE.replace(old, new)) is None


def test_E04_the_second_component_goes_with_rtcp_mux() -> None:
    second = "a=candidate:1 2 UDP 2130706430 203.0.113.141 8999 typ host\n"
    with_mux, without = _find(EXAMPLE + second), _find(EXAMPLE + second, mux=False)
    assert isinstance(with_mux, PeerIce) and isinstance(without, PeerIce)
    assert {c.component for c in with_mux.candidates} == {1}
    assert {c.component for c in without.candidates} == {1, 2}


def test_E04_no_stranger_makes_us_send_checks_to_hundreds() -> None:
    many = "".join(f"a=candidate:1 1 UDP 1 198.51.100.{i % 250} {5000 + i} typ host\n" for i in range(900))
    found = _find(EXAMPLE + many)
    assert isinstance(found, PeerIce)
    assert len(found.candidates) == 40


MAIN = Candidate("a", 1, priority_of("host", 1), "10.0.0.5", 4000, "host")
OTHER = Candidate("b", 1, priority_of("host", 1, 65534), "10.9.0.5", 4100, "host")
SEEN = Candidate("c", 1, priority_of("srflx", 1), "192.0.2.5", 6000, "srflx", MAIN.address)
RELAYED = Candidate("d", 1, 16777215, "192.0.2.77", 7000, "relay", ("192.0.2.5", 6000))
THEIRS = Candidate("e", 1, 1, "198.51.100.1", 5000, "prflx")


def _local(*candidates: Candidate) -> LocalIce:
    return LocalIce.new(candidates, bytes)


def test_E04_the_default_is_how_the_main_socket_is_seen() -> None:
    assert _local(MAIN, OTHER, SEEN, RELAYED).default(1) == SEEN.address
    assert _local(MAIN, OTHER, RELAYED).default(1) == MAIN.address
    assert _local(RELAYED).default(1) == RELAYED.address
    assert _local(MAIN).default(2) is None


def test_E04_after_the_checks_only_the_selected_are_shown() -> None:
    """RFC 8839 section 4.4.1.2.2; ``remote-candidates`` comes from who controls alone."""
    for controlling in (True, False):
        settled = _local(MAIN, SEEN, RELAYED).settled([Selected(RELAYED, THEIRS)], controlling=controlling)
        lines = [str(line) for line in settled.attributes(mux=True, asking=True)]
        assert [line for line in lines if line.startswith("candidate")] == [f"candidate:{RELAYED.attribute().value}"]
        assert ("remote-candidates:1 198.51.100.1 5000" in lines) is controlling
        assert settled.default(1) == RELAYED.address
        assert not [line for line in settled.attributes(mux=True, asking=False) if line.name == "remote-candidates"]


def test_E04_a_restart_changes_both_credentials_and_keeps_the_candidates() -> None:
    rising = iter(range(100))
    before = LocalIce.new([MAIN], lambda n: bytes([next(rising)]) * n).settled(
        [Selected(MAIN, THEIRS)], controlling=True
    )
    after = before.restarted(lambda n: bytes([next(rising)]) * n)
    assert before.ufrag != after.ufrag and before.pwd != after.pwd
    assert (after.candidates, after.selected) == ((MAIN,), ())
    assert len(after.ufrag) >= 4 and len(after.pwd) >= 22
    assert before.pwd not in repr(before)


@pytest.mark.parametrize(
    ("ours", "theirs", "way"),
    [(MAIN, THEIRS, "prflx"), (RELAYED, THEIRS, "relay"), (MAIN, RELAYED, "relay"), (MAIN, OTHER, "host")],
)
def test_E04_the_way_is_told_in_one_word(ours: Candidate, theirs: Candidate, way: str) -> None:
    assert Selected(ours, theirs).way == way


@pytest.mark.parametrize(
    ("ufrag", "pwd", "restarts"), [("a", "b", False), ("c", "d", True), ("c", "b", True), ("a", "d", True)]
)
def test_E04_other_credentials_are_a_restart(ufrag: str, pwd: str, restarts: bool) -> None:
    """RFC 8839 section 4.4.1.1.1; one alone may not change, and who does so restarts all the same."""
    before = PeerIce("a", "b", ())
    assert PeerIce(ufrag, pwd, ()).is_restart_of(before) is restarts
