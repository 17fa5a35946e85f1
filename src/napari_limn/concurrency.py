"""Threads: several reads at once, and a stage that works ahead."""

from __future__ import annotations

from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from queue import Empty, Full, Queue
from threading import Event, Thread
from traceback import clear_frames
from typing import TYPE_CHECKING, Any, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

J = TypeVar("J")
T = TypeVar("T")

_POLL = 0.05  # seconds between two looks at whether to stop


def in_parallel(func: Callable[[J], T], jobs: Iterable[J], count: int) -> Iterator[T]:
    """Call `func` for every job, `count` of them at once.

    In threads, and in their order: where each waits, as for a far disk, they wait together.

    Examples
    --------
    >>> list(in_parallel(str.upper, "abc", 2))
    ['A', 'B', 'C']
    """
    if count == 1:
        yield from map(func, jobs)
        return
    waiting: deque[Future[T]] = deque()
    with ThreadPoolExecutor(count, "limn-read") as pool:
        try:
            for job in jobs:
                waiting.append(pool.submit(func, job))
                if len(waiting) == count:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()
            waiting.clear()


class Stopped(Exception):  # noqa: N818
    """Ends a stage whose items are not wanted any more."""


class Prefetch(Generic[T]):
    """What a generator yields, computed ahead in a thread.

    At most `most` items are ready before they are taken.

    An exception of the generator surfaces, as itself, where its item would have been. :meth:`close` ends the thread, at
    the latest when the generator calls :meth:`check` or yields; leaving the ``with`` block does so too. What waited, and
    what the generator held, is then free at once: a run that lacks memory cannot wait for the garbage collector.

    Parameters
    ----------
    make
        Called with :meth:`check`; gives the generator.
    most
        Items that may wait.

    Examples
    --------
    >>> with Prefetch(lambda check: iter("abc")) as letters:
    ...     "".join(letters)
    'abc'
    """

    def __init__(self, make: Callable[[Callable[[], None]], Iterator[T]], most: int = 2) -> None:
        self._queue: Queue[tuple[T | None, BaseException | None]] = Queue(most)
        self._stop = Event()
        self._thread = Thread(target=self._work, args=(make(self.check),), name="limn", daemon=True)
        self._thread.start()

    def check(self) -> None:
        """Raise :class:`Stopped` once the items are not wanted any more."""
        if self._stop.is_set():
            raise Stopped

    def next_within(self, seconds: float) -> T | None:
        """Return the next item; None if there is none after `seconds`.

        Raises
        ------
        StopIteration
            After the last one, after an exception, and once closed.
        """
        if self._stop.is_set():
            raise StopIteration
        try:
            item, error = self._queue.get(timeout=seconds)
        except Empty:
            return None
        if error is None:
            return item
        self._stop.set()
        try:
            raise error
        finally:
            del error  # it refers to this frame

    def __iter__(self) -> Iterator[T]:
        while True:
            try:
                item = self.next_within(1.0)
            except StopIteration:
                return
            if item is not None:
                yield item

    def close(self) -> None:
        """End the thread, wait for it and drop what it left."""
        self._stop.set()
        self._thread.join()
        with suppress(Empty):
            while True:
                self._queue.get_nowait()

    def __enter__(self) -> Prefetch[T]:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _work(self, items: Iterator[T]) -> None:
        end: BaseException = StopIteration()
        try:
            self._pass_on(items)
        except BaseException as error:  # noqa: BLE001 - raised again in the other thread
            end = error
            clear_frames(
                error.__traceback__
            )  # who handles it wants its message, not to keep the tensors around it
        try:
            with suppress(Stopped):
                self._put((None, end))
        finally:
            del end  # it refers to this frame

    def _pass_on(self, items: Iterator[T]) -> None:
        try:
            for item in items:
                self._put((item, None))
        finally:
            if (close := getattr(items, "close", None)) is not None:
                close()

    def _put(self, entry: tuple[Any, Any]) -> None:
        while True:
            self.check()
            with suppress(Full):
                self._queue.put(entry, timeout=_POLL)
                return
