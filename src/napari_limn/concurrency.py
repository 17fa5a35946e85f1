"""Several reads at once."""

from __future__ import annotations

from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

J = TypeVar("J")
T = TypeVar("T")


def in_parallel(func: Callable[[J], T], jobs: Iterable[J], count: int) -> Iterator[T]:
    """`func` of every job in their order, `count` of them at once in threads: where each waits, as for a far disk, they wait together.

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
