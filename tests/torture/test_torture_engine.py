"""RFC 4475's 49 and RFC 5118's 12 messages against a whole user agent: what it answers, and what it does not."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable
from pathlib import Path

import pytest

from sipcli.errors import ParseError
from sipcli.sip.engine import Engine, EngineConfig
from sipcli.sip.events import CallIncoming, Event, MessageReceived, ProtocolWarning
from sipcli.sip.flow import Flow
from sipcli.sip.syntax.framing import StreamFramer
from sipcli.sip.syntax.headers import Headers
from sipcli.sip.syntax.message import Response, parse_message

HERE = Path(__file__).parent
with (HERE / "rfc4475" / "oracle.tsv").open(newline="", encoding="utf-8") as table:
    ORACLE = {row["file"]: row for row in csv.DictReader(table, delimiter="\t")}

FLOW = Flow(1, "udp", ("192.0.2.200", 5060), ("192.0.2.201", 5070))
CALL = "a call comes in"
NOTHING = "nothing is sent"

# By the oracle's column "expected_uas_behaviour", with every answer it allows.  wsinv has a To tag: processed as the
# INVITE inside a dialog that it is, a dialog nobody knows (RFC 3261 section 12.2.2).
EXPECTED: dict[str, set[int | str]] = {
    "wsinv": {481}, "intmeth": {501}, "esc01": {CALL}, "escnull": {405, 403}, "esc02": {501}, "lwsdisp": {200},
    "longreq": {CALL}, "dblreq": {405}, "semiuri": {200, 404}, "transports": {200}, "mpart01": {200, 202, 415},
    "unreason": {NOTHING}, "noreason": {NOTHING}, "badinv01": {400}, "clerr": {400}, "ncl": {400}, "scalar02": {400},
    "scalarlg": {NOTHING}, "quotbal": {400}, "ltgtruri": {400}, "lwsruri": {400}, "lwsstart": {400}, "trws": {400},
    "escruri": {400, CALL}, "baddate": {CALL, 400}, "regbadct": {400}, "badaspec": {400}, "baddn": {400},
    "badvers": {505}, "mismatch01": {400}, "mismatch02": {501, 400}, "bigcode": {NOTHING}, "badbranch": {200, 400},
    "insuf": {400}, "unkscm": {416}, "novelsc": {416}, "unksm2": {405}, "bext01": {420}, "invut": {415},
    "regaut01": {405}, "multi01": {400}, "mcl01": {400}, "bcast": {NOTHING}, "zeromf": {200}, "cparam01": {405},
    "cparam02": {405}, "regescrt": {405}, "sdp01": {406, 400}, "inv2543": {CALL, 400},
}  # fmt: skip


def drain(engine: Engine) -> tuple[list[Response], list[Event]]:
    """All that the engine sends - responses, here - and tells."""
    events = []
    while (event := engine.next_event()) is not None:
        events.append(event)
    return [read(data) for _, data in engine.packets_to_send()], events


def read(data: bytes) -> Response:
    """A response, even if it repeats what was wrong with its request, and so cannot be parsed."""
    start, *lines = re.split(rb"\r\n(?![ \t])", data.partition(b"\r\n\r\n")[0])
    version, status, reason = start.split(b" ", 2)
    assert version == b"SIP/2.0"
    return Response(int(status), reason.decode(), Headers.read(lines)[0])


def outcome(sent: Iterable[Response], events: Iterable[Event]) -> int | str:
    if any(isinstance(event, CallIncoming) for event in events):
        return CALL
    finals = [response.status for response in sent if response.status >= 200]
    assert len(finals) <= 1
    return finals[0] if finals else NOTHING


def feed(data: bytes) -> tuple[Engine, list[Response], list[Event]]:
    engine = Engine(EngineConfig(accept_calls="any"))
    engine.receive(data, FLOW, 0.0)
    sent, events = drain(engine)
    assert not [event for event in events if isinstance(event, ProtocolWarning) and event.code == "fault"]
    return engine, sent, events


def octets(name: str) -> bytes:
    return (HERE / "rfc4475" / f"{name}.dat").read_bytes()


def test_every_message_has_its_expectation() -> None:
    assert set(EXPECTED) == set(ORACLE)
    assert len(EXPECTED) == 49


@pytest.mark.parametrize("name", EXPECTED)
def test_R01_the_user_agent_does_what_the_oracle_says(name: str) -> None:
    _, sent, events = feed(octets(name))
    assert outcome(sent, events) in EXPECTED[name], ORACLE[name]["expected_uas_behaviour"]


@pytest.mark.parametrize("name", EXPECTED)
def test_R01_the_engine_lives_on(name: str) -> None:
    """Whatever came, the next OPTIONS is answered, and all timers run out."""
    engine, _, events = feed(octets(name))
    for event in events:
        if isinstance(event, CallIncoming):
            event.call.reject(486)
    engine.receive(octets("zeromf").replace(b"zeromf.", b"after."), FLOW, 1.0)
    sent, _ = drain(engine)
    assert 200 in [response.status for response in sent]
    for _ in range(200):
        when = engine.next_timer()
        if when is None:
            break
        engine.handle_timer(when)
        _, told = drain(engine)
        assert not [event for event in told if isinstance(event, ProtocolWarning) and event.code == "fault"]
    assert engine.next_timer() is None


@pytest.mark.parametrize(
    ("name", "header", "value"),
    [
        ("intmeth", "Allow", "INVITE"),
        ("esc02", "Allow", "INVITE"),
        ("escnull", "Allow", "INVITE"),
        ("bext01", "Unsupported", "nothingSupportsThis, nothingSupportsThisEither"),
        ("invut", "Accept", "application/sdp"),
    ],
)
def test_a_refusal_says_what_would_do(name: str, header: str, value: str) -> None:
    _, sent, _ = feed(octets(name))
    assert value in sent[-1].get(header)


def test_the_answer_repeats_what_came() -> None:
    """RFC 3261 section 8.2.6.2, on the message with the oddest characters."""
    data = octets("intmeth")
    _, sent, _ = feed(data)
    came, answer = parse_message(data), sent[-1]
    assert (answer.call_id, answer.cseq, str(answer.from_)) == (came.call_id, came.cseq, str(came.from_))
    assert answer.to.display == came.to.display
    assert answer.to.tag


def test_wsinv_outside_of_a_dialog_is_a_call() -> None:
    _, sent, events = feed(octets("wsinv").replace(b";   tag    = 1918181833n", b""))
    assert outcome(sent, events) == CALL


def test_the_invite_behind_the_register_is_never_parsed() -> None:
    _, sent, events = feed(octets("dblreq"))
    assert [response.cseq.method for response in sent] == ["REGISTER"]
    assert not [event for event in events if isinstance(event, CallIncoming)]


def test_null_does_not_end_a_message() -> None:
    _, sent, events = feed(octets("mpart01"))
    received = [event for event in events if isinstance(event, MessageReceived)]
    assert (len(received) == 1) == (sent[-1].status in (200, 202))
    for event in received:
        assert len(event.request.body) == 553


def test_a_body_that_does_not_come_is_waited_for_on_a_stream() -> None:
    """clerr over TCP: the transport's clock ends that wait (threat T23), not the framer."""
    framer = StreamFramer()
    assert list(framer.feed(octets("clerr"))) == []
    assert framer.pending


@pytest.mark.parametrize("name", ["ncl", "mcl01"])
def test_a_length_that_makes_no_sense_loses_the_stream(name: str) -> None:
    framer = StreamFramer()
    with pytest.raises(ParseError) as caught:
        list(framer.feed(octets(name)))
    assert caught.value.partial is not None
    assert caught.value.partial.reply(400).status == 400


# --- RFC 5118 ---------------------------------------------------------------------

IPV6: dict[str, set[int | str]] = {
    "ipv6-good": {405}, "ipv6-bad": {400}, "port-ambiguous": {405}, "port-unambiguous": {405},
    "via-received-param-with-delim": {481}, "via-received-param-no-delim": {200}, "ipv6-in-sdp": {CALL},
    "mult-ip-in-header": {481}, "mult-ip-in-sdp": {CALL}, "ipv4-mapped-ipv6": {CALL},
    "ipv6-bug-abnf-3-colons": {200}, "ipv6-correct-abnf-2-colons": {200},
}  # fmt: skip


@pytest.mark.parametrize("name", IPV6)
def test_R02_ipv6(name: str) -> None:
    _, sent, events = feed((HERE / "rfc5118" / f"{name}.dat").read_bytes())
    assert outcome(sent, events) in IPV6[name]


def test_R02_all_of_rfc5118_are_fed() -> None:
    assert set(IPV6) == {path.stem for path in (HERE / "rfc5118").glob("*.dat")}
