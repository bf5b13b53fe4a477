"""What ``call`` and ``listen`` do with an answered call: digits, the end of it, and how it sounded."""

from __future__ import annotations

import asyncio
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sipcli.cli.cards import configured, wanted_tones, without_echo
from sipcli.cli.exits import ExitStatus
from sipcli.cli.runtime import Outcome, Run
from sipcli.errors import ConfigError, SipcliError
from sipcli.observe.quality import quality_lines

if TYPE_CHECKING:
    from sipcli.ua.calls.call import Call, CallReport
    from sipcli.ua.calls.tones import ToneSettings

__all__ = ["Talk", "call_facts"]

_DIGITS = frozenset(",0123456789*#ABCDabcd")


class Talk:
    """The wishes of one run (``--audio --codec --ice --record`` and so on), and what became of its calls."""

    def __init__(
        self,
        run: Run,
        media: dict[str, Any],
        record: Path | None,
        dtmf: str | None,
        duration: float | None,
        tones: ToneSettings | None = None,
    ) -> None:
        self._run = run
        self.tones = tones
        """What a person hears of the telephone itself; None: there is nobody to hear it."""
        self.media = media
        """Keywords of :class:`~sipcli.ua.media.media_io.MediaSession`."""
        self.record = record
        self._dtmf = dtmf
        self._duration = duration
        self._report: CallReport | None = None

    @classmethod
    def wanted(cls, run: Run, said: dict[str, Any]) -> Talk:
        """From the verb's options, which are taken out of *said*.  Raises ConfigError before anything is sent."""
        from sipcli.ua.media.audio import check_audio
        from sipcli.ua.media.audiospec import Stdio, parse_audio
        from sipcli.ua.media.recorder import check_recording

        digits = said.pop("dtmf")
        if digits is not None and (not digits or not set(digits) <= _DIGITS):
            raise ConfigError(f"“{digits}” are no DTMF digits", hint="digits are 0-9 * # A-D, and a comma waits")
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
        return cls(run, media, record, digits, said.pop("duration"), tones)

    async def until_the_end(self, call: Call) -> None:
        """From the answer to the last BYE: of this call, or of the one that took its place."""
        loop = asyncio.get_running_loop()
        until = None if self._duration is None else loop.time() + self._duration
        digits = asyncio.ensure_future(self._press(call, self._dtmf)) if self._dtmf else None
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

    async def _press(self, call: Call, digits: str) -> None:
        """``--dtmf``.  Digits that nobody takes are no reason to hang up."""
        try:
            await call.dtmf(digits)
        except SipcliError as error:
            call.teller.warning("dtmf-not-sent", str(error))

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
        return Talk(self._run, self.media, None, None, None)

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
