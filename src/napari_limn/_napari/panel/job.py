"""The one bridge between a run and the window."""

from __future__ import annotations

import gc
import os
import sys
import threading
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING, Any

from napari.qt.threading import WorkerBase, WorkerBaseSignals
from qtpy.QtCore import QThreadPool, Signal  # type: ignore[attr-defined]

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

    from napari_limn.runs import Event


_NICE = 5
_RUNS = 64  # threads for runs of all panels and windows, however few processors there are


class JobSignals(WorkerBaseSignals):  # type: ignore[misc]
    """Signals of a job; `event` carries what the run yields."""

    event = Signal(object)


class Job(WorkerBase):  # type: ignore[misc]
    """Run a generator of events in a thread of the pool.

    Connect to `event`, `returned`, `errored` and `finished`, then ``start()``. ``quit()`` closes the generator at its
    next event, so that its ``finally`` runs; `returned` then carries None.

    Notes
    -----
    napari's own worker for generators loses RuntimeErrors, PyTorch's among them, and never closes the generator.
    """

    def __init__(self, run: Generator[Event, None, Any]) -> None:
        super().__init__(SignalsClass=JobSignals)
        self._events = run

    def start(self) -> None:
        """Start at once.

        Qt's pool has one thread a processor: a third run on two would wait, and could not be stopped.
        """
        if (pool := QThreadPool.globalInstance()) is not None:
            pool.setMaxThreadCount(max(pool.maxThreadCount(), _RUNS))
        super().start()

    def work(self) -> Any:
        """Hand on events until the run ends or is stopped.

        Returns what the run returns.
        """
        _give_way()
        with closing(self._events) as events, _short_collections():
            while not self.abort_requested:
                try:
                    self.event.emit(next(events))
                except StopIteration as end:
                    return end.value
        return None


def _give_way() -> None:
    """Let the window go first where both want to compute.

    That holds for this thread and those that it starts.

    It stays so: only a privileged user may take that back, and whatever this thread of the pool runs later is a run too.
    """
    if sys.platform == "linux":  # where each thread has a priority of its own
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _NICE)


@contextmanager
def _short_collections() -> Iterator[None]:
    """Keep Python's garbage collector short while a run allocates.

    Else it looks through napari and PyTorch again and again.

    A full collection takes about 0.3 s with both loaded, in which the window does not answer.
    """
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()
