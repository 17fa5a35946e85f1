"""The bridge between a run and the window: every error arrives, every run is closed."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
import threading
from importlib.util import find_spec

import pytest

pytest.importorskip("napari")

from napari_limn._napari import system_libraries as libraries
from napari_limn._napari.panel.job import NEEDED, Job
from napari_limn.events import Warned


def run(qtbot, events):
    """A job that has been started, and what it said until it finished."""
    job, said = Job(events), []
    job.event.connect(lambda event: said.append(event.message))
    job.returned.connect(lambda result: said.append(("returned", result)))
    job.errored.connect(lambda error: said.append(("errored", error)))
    with qtbot.waitSignal(job.finished, timeout=5000):
        job.start()
    qtbot.wait(20)
    return said


def test_events_and_the_result_arrive_in_order(qtbot):
    def events():
        yield Warned("one")
        yield Warned("two")
        return 3

    assert run(qtbot, events()) == ["one", "two", ("returned", 3)]


@pytest.mark.parametrize("error", [RuntimeError("out of memory"), ValueError("shape"), ZeroDivisionError()])
def test_an_error_arrives_even_if_torch_raised_it(qtbot, error):
    def events():
        yield Warned("one")
        raise error

    assert run(qtbot, events()) == ["one", ("errored", error)]


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere threads have no priority of their own")
def test_the_window_goes_first_and_threads_of_the_run_give_way_too(qtbot):
    def mine():
        return os.getpriority(os.PRIO_PROCESS, threading.get_native_id())

    def events():
        found = [mine()]
        started = threading.Thread(target=lambda: found.append(mine()))
        started.start()
        started.join()
        yield Warned("one")
        return found

    before = mine()
    (_, found) = run(qtbot, events())[-1]
    assert min(found) > before == mine()


def test_quit_closes_the_run_so_that_its_finally_runs(qtbot):
    closed, seen = [], []

    def events():
        try:
            while True:
                yield Warned("again")
        finally:
            closed.append(gc.get_freeze_count())

    job = Job(events())
    job.event.connect(seen.append)
    with qtbot.waitSignal(job.finished, timeout=5000):
        job.start()
        qtbot.waitUntil(lambda: len(seen) > 3)
        job.quit()
    assert len(closed) == 1
    assert gc.get_freeze_count() == 0, "the garbage collector was left switched off"


def test_missing_libraries_are_named_by_their_packages(monkeypatch, capsys):
    monkeypatch.setattr(libraries.sys, "platform", "linux")
    monkeypatch.setattr(libraries, "_loads", lambda library: library != "libxcb-icccm.so.4")
    monkeypatch.setattr(libraries.shutil, "which", lambda name: None)
    monkeypatch.delenv("DISPLAY", raising=False)
    assert libraries.missing() == ["libxcb-icccm4", "xvfb", "xauth"]
    assert libraries.main(["--install"]) == 0
    assert "apt-get install -y --no-install-recommends libxcb-icccm4 xvfb xauth" in capsys.readouterr().out
    monkeypatch.setattr(libraries.sys, "platform", "darwin")
    assert libraries.missing() == []


def test_root_on_debian_installs_what_is_missing(monkeypatch):
    ran = []
    monkeypatch.setattr(libraries.shutil, "which", lambda name: f"/usr/bin/{name}")
    monkeypatch.setattr(libraries.os, "geteuid", lambda: 0)
    monkeypatch.setattr(
        libraries.subprocess,
        "run",
        lambda step, **_: ran.append(step) or subprocess.CompletedProcess(step, 0),
    )
    assert libraries.install(["xvfb"])
    assert [step[:2] for step in ran] == [["apt-get", "update"], ["apt-get", "install"]]
    assert ran[1][-1] == "xvfb"
    monkeypatch.setattr(libraries.os, "geteuid", lambda: 1000)
    assert not libraries.install(["xvfb"])


def test_what_is_got_ready_is_there():
    for name in NEEDED:
        assert find_spec(f"napari_limn.{name}") is not None, name
