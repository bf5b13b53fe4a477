"""Standard input and output as a call's audio: threads that may block, and small queues between them and the beat."""

from __future__ import annotations

import os
import sys
import threading
from collections import deque
from typing import Any

from sipcli.media.tone import FRAME, SAMPLE_RATE, SILENCE
from sipcli.ua.media.convert import FrameConverter

__all__ = ["StdioPort"]

_FRAME_OCTETS = 2 * FRAME
_PIPE_FRAMES = 10


class StdioPort:
    """Standard input is sent, what is heard goes to standard output; a daemon thread each, for both may block.

    Both are 8 kHz whatever the call has, for who writes into a pipe cannot be told of a change.

    Input faster than real time (a file) waits in its pipe; output that nobody reads is dropped after 200 ms.
    """

    def __init__(self, source: int | None = None, sink: int | None = None) -> None:
        self._source = _descriptor(sys.stdin, 0) if source is None else source
        self._sink = _descriptor(sys.stdout, 1) if sink is None else sink
        self._in: deque[bytes] = deque()
        self._out: deque[bytes] = deque(maxlen=_PIPE_FRAMES)
        self._changed = threading.Condition()
        self._closed = False
        self.tune(SAMPLE_RATE)
        for target in (self._pump_in, self._pump_out):
            threading.Thread(target=target, name=f"sipcli-{target.__name__}", daemon=True).start()

    def tune(self, rate: int) -> None:
        self._from_pipe, self._to_pipe = FrameConverter(SAMPLE_RATE, rate), FrameConverter(rate, SAMPLE_RATE)

    def read(self) -> bytes:
        with self._changed:
            frame = self._in.popleft() if self._in else b""
            self._changed.notify_all()
        return self._from_pipe.push(frame + SILENCE[len(frame) :])

    def write(self, pcm: bytes) -> None:
        pcm = self._to_pipe.push(pcm)
        with self._changed:
            self._out.append(pcm)
            self._changed.notify_all()

    def close(self) -> None:
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def _pump_in(self) -> None:
        pending = b""
        while not self._closed:
            try:
                data = os.read(self._source, _FRAME_OCTETS)
            except OSError:
                data = b""
            pending += data
            while len(pending) >= _FRAME_OCTETS or (not data and pending):
                frame, pending = pending[:_FRAME_OCTETS], pending[_FRAME_OCTETS:]
                with self._changed:
                    self._changed.wait_for(lambda: self._closed or len(self._in) < _PIPE_FRAMES)
                    self._in.append(frame)
            if not data:
                return

    def _pump_out(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._closed or self._out)
                if not self._out:
                    return
                frame = self._out.popleft()
            try:
                while frame:
                    frame = frame[os.write(self._sink, frame) :]
            except OSError:
                return


def _descriptor(stream: Any, default: int) -> int:
    try:
        return int(stream.fileno())
    except (AttributeError, OSError, ValueError):
        return default
