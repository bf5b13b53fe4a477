"""A call's audio for a program that is the person: a bot, a transcriber, a test bench."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sipcli.ua.calls.call import Call

__all__ = ["CallAudio"]


class CallAudio:
    """``async for frame in call.audio`` hears, ``await call.audio.write(pcm)`` speaks.

    PCM is signed, :attr:`width` octets a sample, little-endian, one channel, :attr:`rate` samples a second: that of
    the codec agreed on, known once the call is answered; ``accept(rate=16000)`` and ``account.call(..., rate=16000)``
    fix it, whatever is agreed on.  Frames come every 20 ms, silence where nothing was received, so that their count is
    a clock; a reader that is a second behind loses the oldest.  What is written is sent in the same beat; while
    nothing is, the call's ``audio=`` source is heard by the other side (silence, unless one was named).
    """

    width = 2

    def __init__(self, call: Call) -> None:
        self._call = call

    @property
    def rate(self) -> int:
        """Samples a second."""
        return self._call.session.rate

    @property
    def frame_octets(self) -> int:
        """Octets of 20 ms."""
        return self.width * (self.rate // 50)

    def __aiter__(self) -> CallAudio:
        return self

    async def __anext__(self) -> bytes:
        frame = await self.read()
        if frame is None:
            raise StopAsyncIteration
        return frame

    async def read(self) -> bytes | None:
        """The next 20 ms that were heard; None when the call is over."""
        return await self._call.session.read()

    async def write(self, pcm: bytes) -> None:
        """Speak *pcm*, of any length; waits while more than 200 ms are still to be sent, so that it paces the writer.

        Raises LocalProtocolError when the call is over.
        """
        await self._call.session.write(pcm)

    async def drain(self) -> None:
        """Return when all that was written is sent, or the call is over."""
        await self._call.session.drain()

    def clear(self) -> None:
        """Forget what is written and not sent yet: the other side speaks, and the bot shall stop."""
        self._call.session.clear()
