"""What ``call`` and ``listen`` do with an answered call: digits, the end of it, and how it sounded."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sipcli.cli.cards import configured, wanted_tones, without_echo
from sipcli.cli.exits import ExitStatus
from sipcli.cli.runtime import Outcome, Run
from sipcli.cli.shaping import TimedDigits, are_digits
from sipcli.errors import ConfigError, SipcliError
from sipcli.observe.quality import quality_lines

if TYPE_CHECKING:
    from sipcli.config import AccountConfig
    from sipcli.sip.syntax.uri import SipUri
    from sipcli.ua.account import Account
    from sipcli.ua.calls.call import Call, CallReport
    from sipcli.ua.calls.tones import ToneSettings

__all__ = ["Talk", "call_facts", "press_in_time"]


class Talk:
    """The wishes of one run (``--audio --codec --ice --record`` and so on), and what became of its calls."""

    def __init__(
        self,
        run: Run,
        media: dict[str, Any],
        record: Path | None,
        digits: Sequence[TimedDigits],
        duration: float | None,
        tones: ToneSettings | None = None,
    ) -> None:
        self._run = run
        self.tones = tones
        """What a person hears of the telephone itself; None: there is nobody to hear it."""
        self.media = media
        """Keywords of :class:`~sipcli.ua.media.media_io.MediaSession`."""
        self.record = record
        self._digits = sorted(digits, key=lambda timed: timed.after)  # of equal ones the first said goes first
        self._duration = duration
        self._report: CallReport | None = None

    @classmethod
    def wanted(cls, run: Run, said: dict[str, Any]) -> Talk:
        """From the verb's options, which are taken out of *said*.  Raises ConfigError before anything is sent."""
        from sipcli.ua.media.audio import check_audio
        from sipcli.ua.media.audiospec import Stdio, parse_audio
        from sipcli.ua.media.recorder import check_recording

        duration = said.pop("duration")
        digits = _wanted_digits(said, duration)
        cards = run.load_config().audio
        audio = without_echo(run, configured(parse_audio(said.pop("audio")), cards), cards, said)
        check_audio(audio)
        tones = wanted_tones(audio, cards, said)
        record = said.pop("record")
        if record is not None:
            check_recording(record)
        if isinstance(audio, Stdio):
            if run.options.json:
                raise ConfigError("--json and --audio stdio both want stdout", hint="leave one of them out")
            run.console.stdout_taken = True
        media: dict[str, Any] = {"audio": audio, "record_mode": said.pop("record_mode")}
        if (named := said.pop("codec")) is not None:
            from sipcli.media.codecs import choose

            media["codecs"] = [codec.name for codec in choose(named.split(","))]
        for name in ("srtp", "srtp_keys", "ice", "dtmf_mode"):
            if (policy := said.pop(name)) is not None:
                media[name] = policy
        return cls(run, media, record, digits, duration, tones)

    def checked(self, account: AccountConfig, target: SipUri | None = None, *, direct: bool = False) -> AccountConfig:
        """*account*; ConfigError where its calls could never be as they must: see :func:`check_calls`."""
        from sipcli.ua.calls.foreseen import check_calls

        check_calls(account, self.media, target, direct=direct)
        return account

    async def until_the_end(self, call: Call) -> None:
        """From the answer to the last BYE: of this call, or of the one that took its place."""
        loop = asyncio.get_running_loop()
        until = None if self._duration is None else loop.time() + self._duration
        digits = asyncio.ensure_future(press_in_time(call, self._digits)) if self._digits else None
        try:
            await self._stay(call, until)
            while call.successor is not None:
                call = call.successor
                await call.answered()
                await self._stay(call, until)
        finally:
            if digits is not None:
                digits.cancel()
        self._run.more["call"] = call_facts(self._report) if self._report is not None else None

    async def _stay(self, call: Call, until: float | None) -> None:
        """Until *call* is over; at *until*, on the loop's clock, we hang up."""
        ended = asyncio.ensure_future(call.finished())
        try:
            left = None if until is None else max(0.0, until - asyncio.get_running_loop().time())
            await asyncio.wait({ended}, timeout=left)
            if not ended.done():
                await call.hangup()
            self._report = await ended
        finally:
            ended.cancel()

    async def dial(self, me: Account, uri: SipUri, **wishes: Any) -> Call:
        """Call *uri*.  Raises ConfigError where the recording cannot be made; then there is no call."""
        if self.record is None or self.record == self.recording("", 1):
            return await me.call(uri, **self.media, record=self.record, **wishes)
        # Its name is that of the call: known when the INVITE is on its way, and nothing has come back yet.
        call = await me.call(uri, **self.media, **wishes)
        path = self.recording(call.id, 1)
        assert path is not None
        try:
            call.session.record(path, self.media["record_mode"])
        except SipcliError:
            await call.hangup()
            raise
        call.wishes = {**call.wishes, "record": path}  # for the call that takes this one's place
        return call

    def recording(self, call_id: str, number: int) -> Path | None:
        """Where call *number* is recorded: ``%c`` is its id, ``%n`` its number; without either later ones get -2…"""
        if self.record is None:
            return None
        name = self.record.name
        if "%c" in name or "%n" in name:
            return self.record.with_name(name.replace("%c", call_id).replace("%n", str(number)))
        return self.record if number == 1 else self.record.with_stem(f"{self.record.stem}-{number}")

    def beside(self) -> Talk:
        """The same wishes for one more call, which is not what this run is judged by."""
        return Talk(self._run, self.media, None, (), None)

    def outcome(self, uri: str) -> Outcome:
        """The sentence, and the lines about the sound, of the last call."""
        assert self._report is not None
        facts = call_facts(self._report)
        for line in quality_lines(facts["stats"], facts["audio"], facts["codec"]):
            self._run.console.say(f"  {line}")
        seconds = (self._report.talk_ms or 0) / 1000
        talked = f"talked to {uri} for {seconds:.1f} s"
        if self._report.lost is not None:
            return Outcome("lost", f"{talked}; the call was lost: {self._report.lost}", ExitStatus.NETWORK)
        silent = "; our BYE was not answered" if self._report.bye_answered is False else ""
        return Outcome("completed", talked + silent)


def _wanted_digits(said: dict[str, Any], duration: float | None) -> list[TimedDigits]:
    """``--dtmf`` and ``--dtmf-after``, taken out of *said*.  Raises ConfigError where they are none, or never sent."""
    at_once, later = said.pop("dtmf"), said.pop("dtmf_after", ())
    if at_once is not None and not are_digits(at_once):
        raise ConfigError(f"“{at_once}” are no DTMF digits", hint="digits are 0-9 * # A-D, and a comma waits")
    for after, _ in later:
        if duration is not None and after >= duration:
            raise ConfigError(
                f"--dtmf-after {after:g}s is never: the call lasts {duration:g} s", hint="--duration S lasts longer"
            )
    return [*(() if at_once is None else (TimedDigits(0, at_once),)), *later]


async def press_in_time(call: Call, plan: Sequence[TimedDigits]) -> None:
    """Send all of *plan*, in order of time, in *call* that was just answered, or in the one that took its place.

    Digits that nobody takes are no reason to hang up; those whose time comes while others go out follow them.
    """
    loop = asyncio.get_running_loop()
    answered = loop.time()
    for after, digits in plan:
        await asyncio.sleep(max(0.0, answered + after - loop.time()))
        while call.is_over and call.successor is not None:
            call = call.successor
        try:
            await call.dtmf(digits)
        except SipcliError as error:
            call.teller.warning("dtmf-not-sent", str(error))


def call_facts(report: CallReport) -> dict[str, Any]:
    """The ``call`` object of ``result``."""
    media, audio = report.media, report.media.audio
    return {
        "by": report.by,
        "lost": report.lost,
        "bye_answered": report.bye_answered,
        "code": report.code,
        "setup_ms": report.setup_ms,
        "ring_ms": report.ring_ms,
        "talk_ms": report.talk_ms,
        "pdd_ms": report.pdd_ms,
        "codec": media.codec,
        "stats": {
            "rx": asdict(media.rx),
            "tx": asdict(media.tx),
            "remote": asdict(media.remote) if media.remote is not None else None,
            "rtt_ms": media.rtt_ms,
            "mos": media.mos,
        },
        "audio": {
            "rms_dbfs": audio.rms_dbfs,
            "speech_pct": audio.speech_pct,
            "tone_hz": audio.tone_hz,
            "longest_gap_ms": audio.longest_gap_ms,
        },
    }
