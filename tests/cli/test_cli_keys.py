"""Keys and screen without a terminal: what each key means in each state, and what is drawn (T12, T25)."""

from __future__ import annotations

import io
import sys
import time
import unicodedata
from dataclasses import replace
from pathlib import Path

import pyte
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sipcli.cli.bottomline import BottomLine
from sipcli.cli.keys import DIGITS, KEYS, Command, Keyboard, KeyReader, Situation, key_rows, not_now
from sipcli.cli.phone import recording_path
from sipcli.cli.screen import CallView, View, fit, media_words, statistics_rows, status_line, width_of
from sipcli.cli.tables import table_lines
from sipcli.media.quality import Level, MediaReport, RemoteStats, RxStats, TxStats
from sipcli.ua.media.mediafacts import MediaFacts
from tests.cli.test_cli_hostile_text import EVERYTHING, UNFIT

STATES: list[set[Situation]] = [set(), {"rings"}, {"calling"}, {"up"}, {"held"}, {"rings", "up"}, {"rings", "held"}]
CALL = CallView(
    id="call1",
    who="sip:bob@example.com",
    state="answered",
    seconds=42.9,
    media="opus/48k srtp",
    loss_pct=0.2,
    jitter_ms=4.4,
    mos=4.31,
)
RINGING = CallView(id="call2", who="sip:carol@example.com", state="ringing", incoming=True)


class TestTheTable:
    def test_no_key_has_two_meanings(self) -> None:
        keys = [character for key in KEYS for character in key.keys]
        assert len(keys) == len(set(keys))

    def test_no_letter_is_a_digit(self) -> None:
        assert not {character for key in KEYS for character in key.keys} & set("ABCD")

    @pytest.mark.parametrize("state", STATES, ids=lambda state: "+".join(sorted(state)) or "idle")
    @pytest.mark.parametrize("key", [character for key in KEYS for character in key.keys])
    def test_every_key_in_every_state(self, key: str, state: set[Situation]) -> None:
        """It does what the table says, or says why it does nothing."""
        [known] = [one for one in KEYS if key in one.keys]
        command = Keyboard().press(key, state)
        if known.when and not known.when & state:
            assert command == Command("not_now", key)
            assert not_now(key, state).startswith(f"{known.shown}: ")
        elif key == "q":
            assert command is not None
            assert command.name == ("quit" if state else "leave")
        else:
            assert command == Command(known.command, key)

    @pytest.mark.parametrize("state", STATES)
    def test_the_list_has_what_works_now(self, state: set[Situation]) -> None:
        shown = [key for key, _ in key_rows(state)]
        assert ("a" in shown) == ("rings" in state)
        assert ("0-9 * #" in shown) == ("up" in state)
        assert shown[-1] == "Ctrl-C"


class TestQuestions:
    def test_q_asks_once_and_another_key_stays(self) -> None:
        keyboard = Keyboard()
        assert keyboard.press("q", {"up"}) == Command("quit")
        assert keyboard.press("h", {"up"}) == Command("stay")  # it does not hang up, either
        assert keyboard.press("h", {"up"}) == Command("hangup", "h")
        keyboard.press("q", {"up"})
        assert keyboard.press("q", {"up"}) == Command("leave")

    def test_y_and_n_decide_only_where_somebody_asks(self) -> None:
        keyboard = Keyboard()
        assert keyboard.press("y", {"up"}) is None
        keyboard.asked = True
        assert keyboard.press("m", {"up"}) == Command("mute", "m")
        assert keyboard.press("n", {"up"}) == Command("remain")
        keyboard.asked = True
        assert keyboard.press("y", {"up"}) == Command("go")

    def test_letters_are_digits_only_while_d_is_open(self) -> None:
        keyboard = Keyboard()
        assert keyboard.press("A", {"up"}) is None
        assert keyboard.press("d", {"up"}) == Command("digits", "d")
        assert [keyboard.press(key, {"up"}) for key in "A1#"] == [Command("dtmf", key) for key in "A1#"]
        assert [keyboard.press(key, {"up"}) for key in "hqmRrat\t?"] == [None] * 9
        assert keyboard.press("\n", {"up"}) == Command("digits_done")
        assert keyboard.press("h", {"up"}) == Command("hangup", "h")

    def test_the_prompt_for_digits_ends_with_the_call(self) -> None:
        keyboard = Keyboard()
        keyboard.press("d", {"up"})
        assert keyboard.press("a", {"rings"}) == Command("answer", "a")
        assert not keyboard.digits

    @given(st.lists(st.tuples(st.characters(max_codepoint=0x2FF), st.sampled_from(STATES), st.booleans()), max_size=60))
    def test_whatever_is_typed_nothing_happens_that_the_state_does_not_allow(
        self, presses: list[tuple[str, set[Situation], bool]]
    ) -> None:
        keyboard, asked_to_leave = Keyboard(), False
        allowed = {key.command: key.when for key in KEYS}
        for key, state, asked in presses:
            keyboard.asked = asked
            letters = keyboard.digits
            command = keyboard.press(key, state)
            if command is None:
                continue
            if command.name == "dtmf":
                assert "up" in state and (key in DIGITS or (letters and key in "ABCD"))
            elif command.name in ("go", "remain"):
                assert asked
            elif command.name == "leave":
                assert asked_to_leave or not state
            elif allowed.get(command.name):
                assert allowed[command.name] & state
            asked_to_leave = command.name == "quit"


class TestTheReader:
    @pytest.mark.parametrize(
        "sequence",
        ["\x1b[A", "\x1bOR", "\x1b[15~", "\x1b[1;5D", "\x1b[200~", "\x1bh", "\x1bq", "\x1bNA", "\x1b[<0;10;20M"],
    )
    def test_cursor_and_function_keys_are_no_keys(self, sequence: str) -> None:
        """F3 ends in R, F5 holds digits, the cursor keys end in A to D, and Alt-h is not h."""
        reader = KeyReader()
        assert reader.feed(sequence, 1.0).keys == ""
        assert reader.feed("h", 1.01).keys == "h"

    @pytest.mark.parametrize("at", [1, 2, 3])
    def test_a_sequence_may_come_in_pieces(self, at: int) -> None:
        reader, sequence = KeyReader(), "\x1b[15~"
        assert reader.feed(sequence[:at], 1.0).keys + reader.feed(sequence[at:], 1.01).keys == ""

    def test_escape_alone_takes_no_later_key_with_it(self) -> None:
        reader = KeyReader()
        assert reader.feed("\x1b", 1.0).keys == ""
        assert reader.feed("h", 2.0).keys == "h"

    def test_what_was_pasted_is_no_command(self) -> None:
        reader = KeyReader()
        assert reader.feed("rm -rf hqqq", 1.0) == ("", 11)
        assert reader.feed("q\n", 1.1) == ("", 2)  # the rest of it
        assert reader.feed("h", 2.0) == ("h", 0)

    def test_a_number_may_be_pasted(self) -> None:
        assert KeyReader().feed("0123456789#", 1.0) == ("0123456789#", 0)
        assert KeyReader().feed("1" * 33, 1.0) == ("", 33)

    @given(st.lists(st.tuples(st.text(max_size=30), st.floats(0, 1)), max_size=20))
    def test_any_text_gives_keys_that_were_typed_in_that_order(self, bursts: list[tuple[str, float]]) -> None:
        reader, now = KeyReader(), 0.0
        for typed, later in bursts:
            now += later
            keys, ignored = reader.feed(typed, now)
            rest = iter(typed)
            assert all(key in rest for key in keys)
            assert ignored == 0 or not keys
            assert "\x1b" not in keys


class TestTheLine:
    def test_in_a_call(self) -> None:
        assert status_line(View(front=CALL), 120) == (
            "● in call 00:42  sip:bob@example.com  opus/48k srtp  rx 0.2% loss 4 ms jitter  mos 4.3  "
            "[m]ute [o]hold [h]ang up [?]"
        )

    @pytest.mark.parametrize("columns", range(11, 130))
    def test_it_fits_and_says_the_state_first(self, columns: int) -> None:
        for view in (
            View(front=CALL),
            View(front=CALL, others=(RINGING,)),
            View(others=(RINGING,)),
            View(ready="listening as sip:alice@example.com"),
            View(front=replace(CALL, who="sip:" + "\u6f22\u5b57" * 40 + "@x", muted=True, recording=True)),
        ):
            line = status_line(view, columns)
            assert 0 < width_of(line) <= columns
            assert line[0] in "●○"

    @pytest.mark.parametrize(
        ("columns", "line"),
        [
            (19, "● in call 00:42  s…"),
            (39, "● in call 00:42  sip:bob…  mos 4.3  [?]"),
            (59, "● in call 00:42  sip:bob@example.com  mos 4.3  [?]"),
        ],
    )
    def test_narrow(self, columns: int, line: str) -> None:
        assert status_line(View(front=CALL), columns) == line

    @pytest.mark.parametrize(
        ("sent", "heard", "says"),
        [
            (Level(-20.6, False), Level(-34.2, False), "mos 4.3  tx -21 rx -34 dBFS  [m]ute"),
            (Level(-96.0, False), Level(-0.2, True), "tx -- rx -0 clips dBFS"),
            (None, None, "mos 4.3  [m]ute"),
        ],
    )
    def test_how_loud_both_sides_are(self, sent: Level | None, heard: Level | None, says: str) -> None:
        assert says in status_line(View(front=replace(CALL, sent=sent, heard=heard)), 200)

    def test_a_question_needs_the_room(self) -> None:
        view = View(front=replace(CALL, sent=Level(-20, False), heard=Level(-30, False)), leaving=True)
        assert "dBFS" not in status_line(view, 200)

    def test_on_eighty_columns_how_loud_it_is_comes_before_how_much_is_lost(self) -> None:
        view = View(front=replace(CALL, sent=Level(-20, False), heard=Level(-30, False)))
        assert status_line(view, 80) == "● in call 00:42  sip:bob@example.com  mos 4.3  tx -20 rx -30 dBFS  [?]"

    @pytest.mark.parametrize(
        ("view", "says"),
        [
            (View(), ""),
            (View(ready="listening as sip:a@b"), "○ listening as sip:a@b  [q]uit [?]"),
            (View(others=(RINGING,)), "○ call from  sip:carol@example.com  [a]nswer [r]eject [R] decline"),
            (View(front=CALL, others=(RINGING,)), "sip:carol@example.com calls: [a]nswer [r]eject"),
            (View(front=CALL, others=(replace(CALL, id="call3", state="held"),)), "+1 [Tab]"),
            (View(front=replace(CALL, muted=True)), "un[m]ute"),
            (View(front=replace(CALL, recording=True)), "recording"),
            (View(front=replace(CALL, state="held")), "○ on hold 00:42"),
            (View(front=replace(CALL, state="held by them")), "○ held by them 00:42"),
            (View(front=replace(CALL, conference=2)), "● conference of 3 00:42"),
            (View(front=replace(CALL, seconds=3723)), "1:02:03"),
            (View(front=replace(CALL, mos=None, loss_pct=None, jitter_ms=None)), "srtp  [m]ute"),
            (View(front=CALL, leaving=True), "hang up and leave? [q] once more"),
            (View(front=CALL, asked=True), "go there? [y]es [n]o"),
            (View(front=CALL, digits=True), "digits: 0-9 * # A-D, Enter"),
        ],
    )
    def test_what_it_says(self, view: View, says: str) -> None:
        assert says in status_line(view, 200)

    @pytest.mark.parametrize("text", EVERYTHING.values(), ids=EVERYTHING.keys())
    @pytest.mark.parametrize("columns", [20, 79, 300])
    def test_T12_an_address_cannot_do_anything(self, text: str, columns: int) -> None:
        """Fails without ``safe_text`` in ``status_line`` and in ``_beside``."""
        theirs = replace(CALL, who=f"sip:{text}@example.com")
        for view in (
            View(front=theirs),
            View(others=(replace(RINGING, who=theirs.who),)),
            View(front=theirs, others=(replace(RINGING, who=theirs.who),)),
        ):
            line = status_line(view, columns)
            assert all(unicodedata.category(character) not in UNFIT for character in line)
            assert width_of(line) <= columns


class Terminal(io.StringIO):
    """A stream that a screen of pyte is behind."""

    def __init__(self, columns: int) -> None:
        super().__init__()
        self.screen = pyte.Screen(columns, 12)
        self.screen.set_mode(pyte.modes.LNM)
        self._stream = pyte.Stream(self.screen)

    def write(self, text: str) -> int:
        self._stream.feed(text)
        return super().write(text)

    def fileno(self) -> int:
        return 77

    @property
    def lines(self) -> list[str]:
        shown = [line.rstrip() for line in self.screen.display]
        while shown and not shown[-1]:
            shown.pop()
        return shown


class TestTheBottom:
    @pytest.fixture
    def stream(self, monkeypatch: pytest.MonkeyPatch) -> Terminal:
        stream = Terminal(40)
        monkeypatch.setattr("sipcli.cli.bottomline.in_foreground", lambda _: self.foreground)
        monkeypatch.setattr("sipcli.cli.bottomline.columns_of", lambda _: stream.screen.columns)
        self.foreground = True
        self.text = "one"
        return stream

    def line(self, stream: Terminal) -> BottomLine:
        return BottomLine(stream, lambda columns: fit(self.text, columns))

    def test_it_stays_below_what_is_printed(self, stream: Terminal) -> None:
        line = self.line(stream)
        line.draw()
        with line.aside():
            print("news", file=stream)
        self.text = "a longer one"
        line.draw()
        self.text = "short"
        line.draw()
        assert stream.lines == ["news", "short"]

    def test_the_same_is_not_written_twice(self, stream: Terminal) -> None:
        line = self.line(stream)
        line.draw()
        before = stream.getvalue()
        line.draw()
        assert stream.getvalue() == before

    def test_no_escape_and_the_last_column_stays_free(self, stream: Terminal) -> None:
        self.text = "x" * 100
        line = self.line(stream)
        line.draw()
        line.end()
        assert "\x1b" not in stream.getvalue()
        assert max(len(part) for part in stream.getvalue().split("\r")) == 39
        assert stream.lines == []

    def test_a_prompt_has_the_line_for_itself(self, stream: Terminal) -> None:
        line = self.line(stream)
        line.draw()
        with line.put_away():
            assert stream.lines == []
            line.draw()
            with line.aside():
                print("news", file=stream)
            assert stream.lines == ["news"]
        assert stream.lines == ["news", "one"]

    def test_stopped_and_continued(self, stream: Terminal) -> None:
        line = self.line(stream)
        line.draw()
        line.suspend()
        line.draw()
        assert stream.lines == []
        line.resume()
        assert stream.lines == ["one"]

    def test_in_the_background_nothing_is_drawn(self, stream: Terminal) -> None:
        self.foreground = False
        self.line(stream).draw()
        assert stream.getvalue() == ""

    def test_after_its_end_it_does_not_come_back(self, stream: Terminal) -> None:
        line = self.line(stream)
        line.draw()
        line.end()
        line.draw()
        with line.aside():
            print("news", file=stream)
        assert stream.lines == ["news"]

    def test_a_terminal_that_hung_up_is_no_error(self, stream: Terminal, monkeypatch: pytest.MonkeyPatch) -> None:
        def gone(_text: str) -> int:
            raise OSError(5, "hung up")

        monkeypatch.setattr(stream, "write", gone)
        line = self.line(stream)
        line.draw()
        line.draw()


class TestPanes:
    FACTS = MediaFacts(
        codec="OPUS",
        rate=48000,
        ptime_ms=20,
        local=("127.0.0.1", 4000),
        remote=("192.0.2.1", 4002),
        latched=False,
        srtp="AES_CM_128_HMAC_SHA1_80",
        srtp_keys="sdes",
        ice="relay",
    )
    REPORT = MediaReport(
        rx=RxStats(packets=100, lost=2, lost_pct=2.0, jitter_ms=4.0, late=1, rms_dbfs=-20.0),
        tx=TxStats(packets=99, rms_dbfs=-31.5),
        remote=RemoteStats(lost_pct=0.5, jitter_ms=3.0, mos_cq=4.2),
        rtt_ms=12.0,
        mos=4.1,
    )

    def test_statistics(self) -> None:
        rows, lines = statistics_rows(self.REPORT, self.FACTS)
        assert ("packets", "100", "99") in rows
        assert ("lost", "2 (2.0 %)", "0.5 %") in rows
        assert ("MOS", "4.1", "4.2") in rows
        assert ("level", "-20.0 dBFS", "-31.5 dBFS") in rows
        assert lines[0] == "OPUS/48000 to 192.0.2.1:4002 (AES_CM_128_HMAC_SHA1_80, keys by sdes), ICE relay"
        assert lines[1] == "round trip 12 ms, MOS 4.1 (good)"

    def test_nothing_was_measured_yet(self) -> None:
        nothing = replace(self.FACTS, codec=None, rate=None, remote=None, srtp=None, ice=None)
        rows, lines = statistics_rows(MediaReport(), nothing)
        assert [row[0] for row in rows] == ["packets", "lost", "jitter", "late"]
        assert lines == ["no codec yet to nowhere yet, not encrypted", "nothing was received"]
        assert media_words(nothing) == ""

    @pytest.mark.parametrize("with_rich", [True, False])
    @pytest.mark.parametrize("columns", [17, 77])
    def test_a_table(self, monkeypatch: pytest.MonkeyPatch, with_rich: bool, columns: int) -> None:
        """With rich and without: lines that fit, no escape, and no markup of anybody's."""
        if not with_rich:
            for name in ("rich.console", "rich.table", "rich.text"):
                monkeypatch.setitem(sys.modules, name, None)
        lines = table_lines(("", "received"), [("packets", "[red]5[/red] :smile:"), ("lost", "0")], columns)
        assert all(width_of(line) <= columns for line in lines)
        assert not {"\x1b"} & set("".join(lines))
        if columns == 77:
            assert [line.split(None, 1) for line in lines] == [
                ["received"],
                ["packets", "[red]5[/red] :smile:"],
                ["lost", "0"],
            ]

    def test_a_recording_has_a_name_of_its_own(self, tmp_path: Path) -> None:
        at = time.struct_time((2026, 11, 29, 8, 5, 1, 6, 333, 0))
        first = recording_path(tmp_path, "call1", at)
        assert first.name == "call-20261129-080501-call1.wav"
        first.touch()
        assert recording_path(tmp_path, "call1", at).name == "call-20261129-080501-call1-2.wav"


@pytest.mark.parametrize(
    ("text", "columns", "fits"),
    [
        ("abc", 3, "abc"),
        ("abcd", 3, "ab…"),
        ("\u6f22\u5b57\u6f22", 5, "\u6f22\u5b57…"),
        ("e\u0301e", 2, "e\u0301e"),
        ("abc", 0, ""),
    ],
)
def test_cutting_by_columns(text: str, columns: int, fits: str) -> None:
    assert fit(text, columns) == fits
