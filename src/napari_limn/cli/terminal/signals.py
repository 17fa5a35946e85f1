"""How Ctrl-C, a scheduler or a closing terminal ends a command.

All end it in the same way: an exception in the main thread, so that what is open is closed and what is worth keeping is kept. A
thread waits beside it. Where the main thread does not come to its end soon, since it is deep in a library, that thread ends the
process: whatever is on the disk is whole at every moment.
"""

from __future__ import annotations

import os
import signal
import socket
import sys
import threading
import time
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import FrameType

_SIGNALS = ("SIGINT", "SIGTERM", "SIGHUP")  # Windows has no SIGHUP
_GRACE = 1.2  # seconds that the main thread has; the whole may take two


class Ended(KeyboardInterrupt):
    """A signal asked to end the command."""

    def __init__(self, number: int) -> None:
        super().__init__()
        self.number = number

    @property
    def code(self) -> int:
        """Give the exit code of such an end."""
        return 128 + self.number

    def __str__(self) -> str:
        return (
            "interrupted" if self.number == signal.SIGINT else f"ended by {signal.Signals(self.number).name}"
        )


def ended_of(stop: KeyboardInterrupt) -> Ended:
    """Return what ended a command, also where nothing but Ctrl-C was seen."""
    return stop if isinstance(stop, Ended) else Ended(signal.SIGINT)


_rescues: list[Callable[[], str]] = []
_leaving: list[int] = []  # the signal that ends this process, if one does


def leave(code: int) -> int:
    """Return the exit code, or end with it after a signal.

    At once: libraries whose threads still compute may abort an interpreter that ends in order.
    """
    if _leaving:
        for stream in (sys.stdout, sys.stderr):
            with suppress(OSError, ValueError, AttributeError):
                stream.flush()
        os._exit(code)
    return code


@contextmanager
def rescued_by(rescue: Callable[[], str]) -> Iterator[None]:
    """Have `rescue` called if this block hangs after a signal.

    From another thread; it returns what is to be said.
    """
    _rescues.append(rescue)
    try:
        yield
    finally:
        _rescues.remove(rescue)


@contextmanager
def ended_by_signals(*, alone: bool) -> Iterator[None]:
    """Raise :class:`Ended` in this block at the first such signal.

    Parameters
    ----------
    alone
        Whether the process has nothing else to do. Then it is ended where the exception does not get through.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    ended: list[int] = []

    def end(number: int, _frame: FrameType | None) -> None:
        if not ended:  # a second one does not break what the first began
            ended.append(number)
            _leaving.extend([number] if alone else [])
            raise Ended(number)

    numbers = [getattr(signal, name) for name in _SIGNALS if hasattr(signal, name)]
    # one that is ignored stays so: nohup, and commands in the background
    usual = {n for n in numbers if signal.getsignal(n) in (signal.SIG_DFL, signal.default_int_handler)}
    earlier = {number: signal.signal(number, end) for number in usual}
    over = threading.Event()
    stop = _watch(usual, over) if alone else None
    try:
        yield
    finally:
        over.set()
        if not (alone and ended):  # else the process is about to end, and no other signal may break that
            for number, handler in earlier.items():
                signal.signal(number, handler)
            if stop is not None:
                stop()


def _watch(numbers: set[int], over: threading.Event) -> Callable[[], None]:
    """Start the thread that ends the process; return what stops it.

    `over`: set once all was said.
    """
    ours, theirs = socket.socketpair()
    theirs.setblocking(False)
    before = signal.set_wakeup_fd(theirs.fileno(), warn_on_full_buffer=False)

    def wait() -> None:
        with suppress(OSError):
            while data := ours.recv(1):
                if data[0] in numbers:
                    time.sleep(_GRACE)
                    _end_process(data[0], silent=over.is_set())

    threading.Thread(target=wait, name="limn-signals", daemon=True).start()

    def stop() -> None:
        signal.set_wakeup_fd(before)
        theirs.close()

    return stop


def _end_process(number: int, *, silent: bool) -> None:
    """End the process at once, after keeping what is worth it."""
    ended = Ended(number)
    try:
        kept = [text for rescue in reversed(_rescues) if (text := rescue())]
        if not silent:
            with suppress(OSError, ValueError, AttributeError):
                sys.stderr.write(f"napari-limn: {'; '.join([str(ended), *kept])}.\n")
                sys.stderr.flush()
    finally:
        os._exit(ended.code)
