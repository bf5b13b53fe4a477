"""A program is the person: it hears frames, speaks PCM and reads digits, through a server on loopback."""

from __future__ import annotations

import asyncio
import logging

import pytest

from sipcli.errors import LocalProtocolError
from sipcli.media.tone import Oscillator, dominant_hz, samples_of
from sipcli.ua.calls.call import Call
from sipcli.ua.calls.calldigits import DigitQueue
from tests.support.agentkit import Site, site
from tests.support.brokerkit import right
from tests.support.clock import advance, live, live_until, stepped


async def dialled(s: Site, extension: str, rate: int | None = None) -> Call:
    call = await s.account().call(extension, rate=rate)
    await live(call.answered())
    return call


@pytest.mark.parametrize("rate", [8000, 16000, 48000])
def test_what_a_program_speaks_to_an_echo_it_hears(rate: int) -> None:
    @stepped
    async def run() -> None:
        async with site(right()) as s:
            call = await dialled(s, "echo", rate)
            assert (call.audio.rate, call.audio.width, call.audio.frame_octets) == (rate, 2, rate // 25)
            heard: list[bytes] = []

            async def listen() -> None:
                heard.extend([frame async for frame in call.audio])

            listening = asyncio.ensure_future(listen())
            oscillator = Oscillator(500, rate=rate)
            speech = b"".join(oscillator.read() for _ in range(75))
            await live(call.audio.write(speech))
            await live(call.audio.drain())
            await advance(0.2)
            await live(call.hangup())
            await live(listening)  # ends with the call
            assert {len(frame) for frame in heard} == {call.audio.frame_octets}
            sound = b"".join(heard)[-len(speech) :]
            assert dominant_hz(samples_of(sound), rate=rate) == pytest.approx(500, abs=5)

    run()


@stepped
async def test_the_writer_is_paced_and_may_take_back_what_is_not_sent() -> None:
    async with site(right()) as s:
        call = await dialled(s, "echo", 8000)
        writing = asyncio.ensure_future(call.audio.write(bytes(320 * 100)))
        await advance(1)
        assert not writing.done(), "two seconds of speech were taken in one"
        call.audio.clear()
        await advance(0.04)
        assert writing.done()
        await live(call.audio.drain())  # at once: nothing is left
        await live(call.hangup())
        with pytest.raises(LocalProtocolError, match="closed"):
            await call.audio.write(b"\0\0")
        assert await call.audio.read() is None


@stepped
async def test_digits_come_in_order_and_end_with_the_call() -> None:
    async with site(right()) as s:
        call = await dialled(s, "ivr")
        await live(call.dtmf("12#"))
        assert [await live(call.digits.get()) for _ in range(3)] == ["1", "2", "#"]
        waiting = asyncio.ensure_future(call.digits.get(timeout=5))
        await advance(5.1)
        assert waiting.done() and waiting.result() is None
        forever = asyncio.ensure_future(call.digits.get())
        await live(call.hangup())
        assert await live(forever) is None


async def test_digits_that_nobody_reads_are_bounded() -> None:
    queue = DigitQueue()
    for _ in range(1000):
        queue.put("1")
    queue.close()
    assert len([digit for digit in [await queue.get() for _ in range(100)] if digit]) == 64


@stepped
async def test_a_coroutine_may_have_the_call() -> None:
    async with site(right()) as s:
        done: list[str] = []

        async def answer(call: Call) -> None:
            await call.accept()
            done.append("answered")
            await call.finished()
            done.append("over")

        account = s.account()
        account.incoming = answer
        await live(account.register())
        calling = asyncio.ensure_future(s.box.call("alice"))
        await live_until(lambda: done == ["answered"])
        (call,) = s.agent.calls
        await live(call.hangup())
        await live_until(lambda: done == ["answered", "over"])
        await live(calling)
        assert not s.agent.attending


@stepped
async def test_a_coroutine_that_fails_costs_its_call_and_nothing_else(caplog: pytest.LogCaptureFixture) -> None:
    async with site(right()) as s:

        async def answer(call: Call) -> None:
            await call.accept()
            raise ValueError("a bug of the program")

        account = s.account()
        account.incoming = answer
        await live(account.register())
        with caplog.at_level(logging.ERROR):
            calling = asyncio.ensure_future(s.box.call("alice"))
            await live_until(lambda: [n.state for n in s.told("call")][-1:] == ["ended"])
        assert "the coroutine that had call" in caplog.text
        await live(calling)
        assert account.state == "registered"


@stepped
async def test_a_coroutine_that_speaks_into_an_ended_call_is_no_fault(caplog: pytest.LogCaptureFixture) -> None:
    """An echo has a frame in its hand when the other side hangs up."""
    async with site(right()) as s:
        ended: list[str] = []

        async def answer(call: Call) -> None:
            await call.accept()
            await call.finished()
            ended.append(call.id)
            await call.audio.write(bytes(320))

        account = s.account()
        account.incoming = answer
        await live(account.register())
        calling = asyncio.ensure_future(s.box.call("alice"))
        await live_until(lambda: [n.state for n in s.told("call")][-1:] == ["answered"])
        await live(s.agent.calls[0].hangup())
        await live(calling)
        await live_until(lambda: ended and not s.agent.attending)
        assert "failed" not in caplog.text


@stepped
async def test_a_coroutine_ends_with_its_agent() -> None:
    ended = asyncio.Event()
    async with site(right()) as s:

        async def answer(call: Call) -> None:
            await call.accept()
            try:
                await asyncio.Event().wait()
            finally:
                ended.set()

        account = s.account()
        account.incoming = answer
        await live(account.register())
        calling = asyncio.ensure_future(s.box.call("alice"))
        await live_until(lambda: [n.state for n in s.told("call")][-1:] == ["answered"])
        await live(s.agent.close())
        await live(calling)
        assert ended.is_set()
