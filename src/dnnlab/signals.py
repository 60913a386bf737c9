"""Signals that ask a run to end: they only set a wish, which the loop grants at the next border of a step."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from signal import SIG_IGN, SIGINT, SIGTERM, Signals, getsignal, signal
from threading import current_thread, main_thread
from types import FrameType

SHOW_CURSOR = b"\x1b[?25h\n"


@contextmanager
def interruptible(stop: Callable[[], None]) -> Iterator[list[Signals]]:
    """Within, SIGINT, SIGTERM and SIGHUP (where nobody ignores it) call `stop`; a second one ends the process at once.

    -> the signals that came. Only the main thread hears signals.
    """
    caught: list[Signals] = []

    def handle(number: int, frame: FrameType | None) -> None:
        if caught:
            with suppress(OSError):
                os.write(1, SHOW_CURSOR if os.isatty(1) else b"")  # which a live line hides
            os._exit(128 + number)  # what is written is whole at each instant
        caught.append(Signals(number))
        stop()

    if current_thread() is not main_thread():
        yield caught
        return
    hangup = getattr(Signals, "SIGHUP", None)  # not every system has it
    numbers = [SIGINT, SIGTERM, *([hangup] if hangup is not None and getsignal(hangup) is not SIG_IGN else [])]
    before = {number: signal(number, handle) for number in numbers}
    try:
        yield caught
    finally:
        for number, handler in before.items():
            signal(number, handler)
