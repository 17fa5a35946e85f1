"""What a terminal shows of a command, if it still listens.

Why: results, warnings, bars, argparse, :mod:`logging` and :mod:`warnings` all write to :data:`sys.stdout` and :data:`sys.stderr`.
A terminal that was closed, ``| head`` and a full log disk must not end hours of work, so both are replaced while a command runs.
"""

from __future__ import annotations

import errno
import os
import sys
from contextlib import suppress
from functools import wraps
from typing import TYPE_CHECKING, Any, TextIO, cast

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Generator, Iterable

    from napari_limn.runs import Event

# what a reader that has seen enough leaves behind; Windows calls it EINVAL
_CLOSED = {errno.EPIPE, errno.ESHUTDOWN} | ({errno.EINVAL} if sys.platform == "win32" else set())


def followed(
    run: Generator[Event, None, Any], args: argparse.Namespace, listen: Callable[[Event], None] | None = None
) -> Any:
    """Run to the end, and show progress in the terminal.

    Warnings to stderr, a progress bar where stderr is a terminal; neither where nothing is to be said.
    """
    from tqdm import tqdm

    from napari_limn.execution.events import ImageBegun, ImageDone
    from napari_limn.runs import BlockDone, Noted, Warned, drain
    from napari_limn.training.events import Scored, Step

    with tqdm(
        total=1.0,
        disable=args.quiet or not sys.stderr.isatty(),
        bar_format="{l_bar}{bar}| {elapsed} {postfix}",
    ) as bar:

        def on_event(event: Event) -> None:
            match event:
                case Warned(message) | Noted(message):
                    if not args.quiet:
                        sys.stderr.write(f"napari-limn: {message}\n")
                case Step(step=step, loss=loss, done=done):
                    bar.set_postfix_str(f"step {step}, loss {loss:.3f}", refresh=False)
                    bar.update(done - bar.n)
                case Scored(score=score):
                    bar.set_description_str(f"held-out IoU {score:.3f}")
                case BlockDone(done=done, total=total):
                    bar.update(done / total - bar.n)
                case ImageBegun(image=image, number=number, total=total):
                    bar.set_description_str(f"{number} of {total}: {image}")
                    bar.update(-bar.n)
                case ImageDone(status="failed", message=message):
                    sys.stderr.write(f"napari-limn: {message}\n")
            if listen is not None:
                listen(event)

        return drain(run, on_event)


class Outlet:
    """A stream that never raises: what cannot be written is dropped.

    Parameters
    ----------
    stream
        Where text goes; None where the process has no such stream.

    Examples
    --------
    >>> Outlet(None).write("to nobody")
    9
    """

    def __init__(self, stream: TextIO | None) -> None:
        self.fault: OSError | None = None
        with suppress(
            AttributeError, ValueError, OSError
        ):  # names may have letters that the console does not
            cast("Any", stream).reconfigure(errors="backslashreplace")
        self._stream = _nowhere() if stream is None or stream.closed else stream

    def write(self, text: str) -> int:
        """Write `text`, or drop it."""
        self._try(lambda: self._stream.write(text))
        return len(text)

    def writelines(self, lines: Iterable[str]) -> None:
        """Write several texts, or drop them."""
        self.write("".join(lines))

    def flush(self) -> None:
        """Hand on what was written, or drop it."""
        self._try(lambda: self._stream.flush())

    def isatty(self) -> bool:
        """Return whether a user is looking."""
        return self.fault is None and self._stream.isatty()

    def _try(self, step: Callable[[], object]) -> None:
        try:
            step()
        except UnicodeError:  # of a stream that is no console's: one text is lost, not all that follow
            return
        except (OSError, ValueError) as error:
            self.fault = self.fault or (error if isinstance(error, OSError) else None)
            _lead_nowhere(self._stream)
            self._stream = _nowhere()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def telling(main: Callable[..., int]) -> Callable[..., int]:
    """Let a program write to streams that are closed, broken or full.

    Its exit code stays. Only where the standard output took nothing more, other than because its reader ended, it is 1, with a
    sentence on stderr.
    """

    @wraps(main)
    def guarded(*args: Any, **kwargs: Any) -> int:
        _occupy_closed()
        before = sys.stdout, sys.stderr
        out, err = Outlet(sys.stdout), Outlet(sys.stderr)
        sys.stdout, sys.stderr = cast("TextIO", out), cast("TextIO", err)
        try:
            code = main(*args, **kwargs)
            out.flush()
            if out.fault is not None and out.fault.errno not in _CLOSED:
                err.write(
                    f"napari-limn: the standard output: {out.fault.strerror or out.fault}; the command has ended, and only its answer "
                    "is not there: send the output elsewhere.\n"
                )
                code = code or 1
        finally:
            out.flush()
            err.flush()
            sys.stdout, sys.stderr = before
        return code

    return guarded


def _occupy_closed() -> None:
    """Open the null device in place of closed standard streams.

    Otherwise the next file takes their number, and libraries that warn on it write into the labels.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            with suppress(OSError):
                os.open(os.devnull, os.O_RDWR)


def _lead_nowhere(stream: TextIO) -> None:
    """Let what a stream still holds go nowhere.

    Python writes it at its end, and would complain.
    """
    with suppress(OSError, ValueError, AttributeError):
        number, nowhere = stream.fileno(), os.open(os.devnull, os.O_WRONLY)
        try:
            os.dup2(nowhere, number)
        finally:
            os.close(nowhere)


def _nowhere() -> TextIO:
    return open(os.devnull, "w", encoding="utf-8")
