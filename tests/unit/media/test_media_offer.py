"""Offer and answer (RFC 3264): what two of ours agree on, and what strange peers may ask."""

from __future__ import annotations

from typing import Any

import pytest

from sipcli.errors import ConfigError, LocalProtocolError, MediaFailed
from sipcli.media import sdp as sdp_module
from sipcli.media.agreement import mirrored
from sipcli.media.codecs import CODECS
from sipcli.media.offer import Negotiator
from sipcli.media.sdp import Direction, SessionDescription, parse_sdp
from tests.support.real import require
from tests.unit.media.test_media_sdp import RFC4475_BODY, RFC5118_IPV6, RFC5118_MULTIPLE


def _ours(host: str = "192.0.2.1", port: int = 4000, **more: Any) -> Negotiator:
    more.setdefault("codecs", ("PCMU", "PCMA"))
    return Negotiator(rtp=(host, port), session_id=7, **more)


def _offer(*media: str, connection: str = "192.0.2.9", session: str = "") -> bytes:
    family = "IP6" if ":" in connection else "IP4"
    lines = ["v=0", f"o=- 1 1 IN {family} {connection}", "s=-", f"c=IN {family} {connection}", "t=0 0"]
    return "\r\n".join([*lines, *session.split(), *media, ""]).encode()


def _lines(sdp: bytes) -> list[str]:
    return sdp.decode().splitlines()


def _pair(**more: Any) -> tuple[Negotiator, Negotiator, SessionDescription]:
    a, b = _ours(**more), _ours("192.0.2.2", 5000)
    answer = b.answer(a.offer())
    a.accept_answer(answer)
    return a, b, parse_sdp(answer)


def test_two_of_ours_agree() -> None:
    a, b, answer = _pair()
    assert a.agreement is not None
    assert b.agreement is not None
    assert a.agreement.codec.name == b.agreement.codec.name == "PCMU"
    assert a.agreement.remote == ("192.0.2.2", 5000)
    assert b.agreement.remote == ("192.0.2.1", 4000)
    assert a.agreement.rtcp_mux and b.agreement.rtcp_mux
    assert a.agreement.remote_rtcp == ("192.0.2.2", 5000)
    assert a.agreement.send_event_type == b.agreement.send_event_type == 101
    assert a.agreement.direction == b.agreement.direction == "sendrecv"
    assert answer.media[0].formats == ("0", "13", "101")


def test_the_answerer_takes_the_offerers_favourite() -> None:
    a, _, _ = _pair(codecs=("PCMA", "PCMU"))
    assert a.agreement is not None
    assert a.agreement.codec is CODECS["PCMA"]


def test_E01_static_types_need_no_rtpmap_and_dynamic_ones_are_heeded() -> None:
    b = _ours()
    b.answer(_offer("m=audio 6000 RTP/AVP 8"))
    assert b.agreement is not None
    assert (b.agreement.codec.name, b.agreement.send_type, b.agreement.send_event_type) == ("PCMA", 8, None)
    b = _ours()
    answer = b.answer(
        _offer("m=audio 6000 RTP/AVP 97 96 98", "a=rtpmap:96 pcmu/8000", "a=rtpmap:97 PCMU/16000",
               "a=rtpmap:98 Telephone-Event/8000")
    )  # fmt: skip
    assert b.agreement is not None
    assert (b.agreement.codec.name, b.agreement.send_type, b.agreement.send_event_type) == ("PCMU", 96, 98)
    assert "a=rtpmap:96 PCMU/8000" in _lines(answer)
    assert "a=rtpmap:98 telephone-event/8000" in _lines(answer)


def test_D01_every_media_line_is_answered_in_its_place() -> None:
    b = _ours()
    answer = parse_sdp(
        b.answer(
            _offer(
                "m=video 6002 RTP/AVP 31",
                "m=audio 6004 RTP/SAVP 0",
                "m=audio 0 RTP/AVP 0",
                "m=audio 6000 RTP/AVP 0",
                "m=application 6006 TCP/BFCP *",
                "m=audio 6008 RTP/AVP 0",
            )
        )
    )
    assert [(media.kind, media.port) for media in answer.media] == [
        ("video", 0), ("audio", 0), ("audio", 0), ("audio", 4000), ("application", 0), ("audio", 0)
    ]  # fmt: skip
    assert [media.protocol for media in answer.media][1] == "RTP/SAVP"
    assert answer.media[4].formats == ("*",)


@pytest.mark.parametrize(
    ("offered", "answered", "may_send", "may_receive"),
    [
        ("sendrecv", "sendrecv", True, True),
        ("sendonly", "recvonly", False, True),
        ("recvonly", "sendonly", True, False),
        ("inactive", "inactive", False, False),
    ],
)
def test_D01_directions_are_mirrored(
    offered: Direction, answered: Direction, may_send: bool, may_receive: bool
) -> None:
    assert mirrored(offered) == answered
    for media in (["m=audio 6000 RTP/AVP 0", f"a={offered}"], ["m=audio 6000 RTP/AVP 0"]):
        b = _ours()
        answer = parse_sdp(b.answer(_offer(*media, session=f"a={offered}")))
        assert answer.direction_of(answer.media[0]) == answered
        assert b.agreement is not None
        assert (b.agreement.may_send, b.agreement.may_receive) == (may_send, may_receive)


def test_D01_the_hold_of_rfc_2543() -> None:
    b = _ours()
    b.answer(_offer("m=audio 6000 RTP/AVP 0"))
    assert b.agreement is not None and b.agreement.may_send
    answer = parse_sdp(b.answer(_offer("m=audio 6000 RTP/AVP 0", connection="0.0.0.0")))
    assert answer.direction_of(answer.media[0]) == "recvonly"
    assert b.agreement.remote is None
    assert not b.agreement.may_send
    b.answer(_offer("m=audio 6000 RTP/AVP 0"))
    assert b.agreement.may_send


def test_D01_our_hold_and_back() -> None:
    a, b, _ = _pair()
    a.hold = True
    offer = a.offer()
    assert "a=sendonly" in _lines(offer)
    answer = b.answer(offer)
    assert "a=recvonly" in _lines(answer)
    a.accept_answer(answer)
    assert a.agreement is not None and b.agreement is not None
    assert (a.agreement.direction, b.agreement.direction) == ("sendonly", "recvonly")
    # Held from both ends it is inactive (RFC 3264 section 8.4).
    b.hold = True
    offer = b.offer()
    assert "a=inactive" in _lines(offer)
    b.accept_answer(a.answer(offer))
    assert (a.agreement.direction, b.agreement.direction) == ("inactive", "inactive")
    # The peer resumes, we still hold: it hears us, we do not hear it.
    b.hold = False
    b.accept_answer(a.answer(b.offer()))
    assert (a.agreement.direction, b.agreement.direction) == ("sendonly", "recvonly")
    a.hold = False
    a.accept_answer(b.answer(a.offer()))
    assert (a.agreement.direction, b.agreement.direction) == ("sendrecv", "sendrecv")


def test_a_refused_hold_is_no_hold() -> None:
    a, _, _ = _pair()
    a.hold = True
    a.offer()
    a.withdraw()
    assert not a.hold
    assert a.agreement is not None and a.agreement.direction == "sendrecv"
    assert "a=sendrecv" in _lines(a.offer())


def _version(sdp: bytes) -> int:
    return parse_sdp(sdp).origin.version


def test_D01_the_version_grows_by_one_and_only_with_a_change() -> None:
    a = _ours()
    first = a.offer()
    assert a.offer() == first
    a.hold = True
    held = a.offer()
    assert _version(held) == _version(first) + 1
    assert parse_sdp(held).origin.session_id == parse_sdp(first).origin.session_id
    b = _ours("192.0.2.2", 5000)
    answers = [b.answer(first), b.answer(first), b.answer(held)]
    assert answers[0] == answers[1]
    assert _version(answers[2]) == _version(answers[1]) + 1


def test_D01_a_late_offer_is_an_offer() -> None:
    """An INVITE without SDP: we offer in the 200, the answer comes in the ACK."""
    b = _ours()
    offer = b.offer()
    b.accept_answer(_ours("192.0.2.2", 5000, codecs=("PCMA",)).answer(offer))
    assert b.agreement is not None
    assert b.agreement.codec.name == "PCMA"
    # PCMU was offered too, and may come before the peer has seen its own answer.
    assert sorted(b.agreement.receive_types) == [0, 8]


def test_D01_a_new_offer_keeps_the_places_of_refused_media() -> None:
    b = _ours()
    b.answer(_offer("m=video 6002 RTP/AVP 31", "m=audio 6000 RTP/AVP 0"))
    again = parse_sdp(b.offer())
    assert [(media.kind, media.port) for media in again.media] == [("video", 0), ("audio", 4000)]


@pytest.mark.parametrize("times", ["0 0", "2873397496 2873404696", "0 0 1", "x", ""])
def test_D01_the_time_of_the_offer_is_the_time_of_the_answer(times: str) -> None:
    """RFC 3264 section 6: the "t=" line in the answer is that of the offer; what is no time is not repeated."""
    answer = _ours().answer(_offer("m=audio 6000 RTP/AVP 0").replace(b"t=0 0", f"t={times}".encode()))
    assert [line for line in _lines(answer) if line[:2] == "t="] == [f"t={times if times[:2] == '28' else '0 0'}"]


LINPHONE = (
    "m=audio 6000 RTP/AVP 97 98 0 101 100 102",
    "a=rtpmap:97 opus/48000/2",
    "a=rtpmap:98 speex/8000",
    "a=rtpmap:101 telephone-event/48000",
    "a=rtpmap:100 telephone-event/16000",
    "a=rtpmap:102 telephone-event/8000",
)


def _meanings(sdp: bytes) -> dict[int, str]:
    return {n: f"{m.encoding.upper()}/{m.clock_rate}" for n, m in parse_sdp(sdp).media[0].rtpmaps.items()}


def test_D01_a_payload_type_never_changes_its_meaning() -> None:
    """RFC 3264 section 8.3.2.  Our hold told linphone that 101, its telephone-event/48000, was one at 8000."""
    require("opus")
    b = _ours(codecs=("OPUS", "L16", "PCMU"))
    said = [_meanings(b.answer(_offer(*LINPHONE))), _meanings(_offer(*LINPHONE))]
    b.hold = True
    ours = _meanings(b.offer())
    for number, meaning in ours.items():
        assert {said_[number] for said_ in said if number in said_} <= {meaning}, number
    assert ours[97] == "OPUS/48000"
    assert {ours[number] for number in (100, 101, 102)} == {f"TELEPHONE-EVENT/{r}" for r in (8000, 16000, 48000)}
    assert (other := [number for number, meaning in ours.items() if meaning == "L16/16000"]) and other[0] not in (
        97,
        98,
    )
    assert b.offer() == b.offer(), "and so does the version, while nothing changes"


def test_D01_what_the_answer_called_it_counts_as_well() -> None:
    require("opus")
    a = _ours(codecs=("OPUS", "PCMU"))
    first = _meanings(a.offer())
    a.accept_answer(_offer("m=audio 6000 RTP/AVP 111 102", "a=rtpmap:111 opus/48000/2", "a=rtpmap:102 L16/16000"))
    assert _meanings(a.offer()) == first, "ours stay ours"
    a.answer(_offer("m=audio 6000 RTP/AVP 96", "a=rtpmap:96 opus/48000/2"))
    assert _meanings(a.offer()) == first


def test_T23_each_rtpmap_of_an_offer_is_read_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of an offer and of an answer, whoever looks later.  Fails when each look reads them all anew."""
    read: list[str] = []
    really = sdp_module._parse_rtpmap
    monkeypatch.setattr(sdp_module, "_parse_rtpmap", lambda value: read.append(value) or really(value))
    lines = [f"a=rtpmap:96 X{number}/8000" for number in range(900)]
    b = _ours()
    b.answer(_offer("m=audio 6000 RTP/AVP 0 96", *lines))
    assert len([value for value in read if "X" in value]) == len(lines)
    assert b.agreement is not None


def test_D01_numbers_that_run_out_are_not_taken_from_those_of_rtcp() -> None:
    """RFC 5761 section 4: 64 to 95 are none for who shares the port."""
    require("opus")
    b = _ours(codecs=("OPUS", "L16", "PCMU"))
    numbers = range(96, 128)
    b.answer(
        _offer(f"m=audio 6000 RTP/AVP 0 {' '.join(map(str, numbers))}", *(f"a=rtpmap:{n} X{n}/8000" for n in numbers))
    )
    offered = [int(number) for number in parse_sdp(b.offer()).media[0].formats]
    assert len(set(offered)) == len(offered)
    assert not set(offered) & {*range(64, 96), *numbers}


@pytest.mark.parametrize(
    "offer",
    [
        b"nonsense",
        _offer(),
        _offer("m=audio 6000 RTP/AVP 18", "a=rtpmap:18 G729/8000"),
        _offer("m=audio 6000 RTP/SAVP 0"),
        _offer("m=audio 0 RTP/AVP 0"),
        _offer("m=video 6000 RTP/AVP 31"),
        _offer("m=audio 6000 RTP/AVP 0", connection="2001:db8::1"),
        b"v=0\r\no=- 1 1 IN IP4 192.0.2.9\r\ns=-\r\nt=0 0\r\nm=audio 6000 RTP/AVP 0\r\n",
        RFC5118_IPV6,
    ],
    ids=["nonsense", "no media", "no codec", "srtp", "port 0", "video", "other family", "no address", "rfc5118"],
)
def test_D01_what_cannot_be_answered_is_488(offer: bytes) -> None:
    b = _ours()
    with pytest.raises(MediaFailed) as caught:
        b.answer(offer)
    assert caught.value.code == 488
    assert b.agreement is None


def test_published_offers() -> None:
    b = _ours("192.0.2.1")
    answer = parse_sdp(b.answer(RFC5118_MULTIPLE))
    assert [media.port for media in answer.media] == [4000, 0]
    b = _ours("192.0.2.1")
    b.answer(RFC4475_BODY)
    assert b.agreement is not None
    assert b.agreement.remote == ("192.0.2.4", 49217)


def test_a_failed_reoffer_leaves_what_was_agreed() -> None:
    a, _, _ = _pair()
    before = a.agreement
    with pytest.raises(MediaFailed):
        a.answer(_offer("m=audio 6000 RTP/AVP 18"))
    assert a.agreement is before


def test_D01_a_reoffer_may_remove_the_audio() -> None:
    b = _ours()
    b.answer(_offer("m=audio 6000 RTP/AVP 0"))
    answer = parse_sdp(b.answer(_offer("m=audio 0 RTP/AVP 0")))
    assert [media.port for media in answer.media] == [0]
    assert b.agreement is not None
    assert not b.agreement.may_send and not b.agreement.may_receive


@pytest.mark.parametrize(
    "answer",
    [
        _offer("m=audio 0 RTP/AVP 0"),
        _offer("m=audio 6000 RTP/AVP 18"),
        _offer("m=audio 6000 RTP/SAVP 0"),
        _offer("m=audio 6000 RTP/AVP 0", "m=audio 6002 RTP/AVP 0"),
        _offer(),
        b"v=0",
    ],
    ids=["refused", "no codec", "other protocol", "too many", "too few", "nonsense"],
)
def test_bad_answers(answer: bytes) -> None:
    a = _ours()
    a.offer()
    with pytest.raises(MediaFailed):
        a.accept_answer(answer)
    assert a.agreement is None


def test_an_answer_may_omit_rtpmaps_of_the_offer() -> None:
    a = _ours()
    a.offer()
    a.accept_answer(_offer("m=audio 6000 RTP/AVP 8 101"))
    assert a.agreement is not None
    assert (a.agreement.send_type, a.agreement.send_event_type) == (8, 101)


def test_answers_of_two_branches() -> None:
    """183 of one fork, 200 of another: the last answer counts."""
    a = _ours()
    a.offer()
    a.accept_answer(_offer("m=audio 6000 RTP/AVP 0", connection="192.0.2.7"))
    a.accept_answer(_offer("m=audio 6100 RTP/AVP 8", connection="192.0.2.8"))
    assert a.agreement is not None
    assert (a.agreement.codec.name, a.agreement.remote) == ("PCMA", ("192.0.2.8", 6100))


def test_an_answer_to_nothing() -> None:
    with pytest.raises(LocalProtocolError):
        _ours().accept_answer(_offer("m=audio 6000 RTP/AVP 0"))


def test_E01_rtcp_shares_the_port_only_if_both_say_so() -> None:
    a = _ours()
    a.offer()
    a.accept_answer(_offer("m=audio 6000 RTP/AVP 0"))
    assert a.agreement is not None
    assert not a.agreement.rtcp_mux
    assert a.agreement.remote_rtcp == ("192.0.2.9", 6001)
    b = _ours()
    answer = b.answer(_offer("m=audio 6000 RTP/AVP 0", "a=rtcp:7000"))
    assert "a=rtcp-mux" not in _lines(answer)
    assert b.agreement is not None
    assert b.agreement.remote_rtcp == ("192.0.2.9", 7000)
    # RFC 5761 section 4: payload types 64 to 95 cannot be told from RTCP.
    b = _ours()
    b.answer(_offer("m=audio 6000 RTP/AVP 0 72", "a=rtpmap:72 X/8000", "a=rtcp-mux"))
    assert b.agreement is not None and not b.agreement.rtcp_mux


def test_rtcp_elsewhere_is_announced() -> None:
    assert "a=rtcp:4711" in _lines(_ours(rtcp_port=4711).offer())
    assert not any(line.startswith("a=rtcp:") for line in _lines(_ours().offer()))


def test_a_named_host_can_only_be_heard() -> None:
    b = _ours()
    b.answer(_offer("m=audio 6000 RTP/AVP 0", connection="media.example.com"))
    assert b.agreement is not None
    assert b.agreement.remote is None


def test_ipv6() -> None:
    a, b = _ours("2001:db8::1"), _ours("2001:db8::2", 5000)
    answer = b.answer(a.offer())
    a.accept_answer(answer)
    assert "c=IN IP6 2001:db8::2" in _lines(answer)
    assert a.agreement is not None
    assert a.agreement.remote == ("2001:db8::2", 5000)


@pytest.mark.parametrize("codecs", [(), ("SPEEX",)])
def test_unknown_codecs_are_configuration_errors(codecs: tuple[str, ...]) -> None:
    with pytest.raises(ConfigError):
        _ours(codecs=codecs)
