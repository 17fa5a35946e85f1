"""Telling never costs the work: standard streams that are closed, broken, full or missing."""

from __future__ import annotations

import errno
import io
import logging
import subprocess
import sys
import warnings

import numpy as np
import pytest
import tifffile

from napari_limn.annotation.classes import Classes
from napari_limn.cli import main
from napari_limn.cli.terminal.progress import Outlet, telling
from napari_limn.model import Model, ModelSpec
from napari_limn.network.spec import UNetSpec
from napari_limn.network.unet import UNet

PROGRAM = f'"{sys.executable}" -c "import sys; from napari_limn.cli import main; sys.exit(main())"'


class Broken(io.StringIO):
    """A stream that takes nothing, or only refuses at the end."""

    def __init__(self, fault, *, at="write"):
        super().__init__()
        self.fault, self.at = fault, at

    def write(self, text):
        if self.at == "write":
            raise self.fault
        return len(text)

    def flush(self):
        if self.at == "flush":
            raise self.fault


FAULTS = {
    "pipe": BrokenPipeError(errno.EPIPE, "Broken pipe"),
    "full": OSError(errno.ENOSPC, "No space left on device"),
    "terminal gone": OSError(errno.EIO, "Input/output error"),
    "closed": ValueError("I/O operation on closed file."),
}


def everything() -> int:
    """Write in each way that libraries write, and go on."""
    sys.stdout.writelines(["result\n", "a\n"])
    sys.stdout.write("b\n")
    print("printed", flush=True)
    print("printed", file=sys.stderr)
    warnings.warn("a warning", stacklevel=1)
    logging.getLogger("of.a.library").warning("by the handler of last resort")
    from tqdm import tqdm

    for _ in tqdm(range(3), mininterval=0):
        pass
    return 0


@pytest.mark.parametrize("at", ["write", "flush"])
@pytest.mark.parametrize("name", FAULTS)
@pytest.mark.parametrize("which", ["stdout", "stderr"])
@pytest.mark.filterwarnings("always")
def test_a_stream_that_refuses_does_not_end_the_work(monkeypatch, name, which, at):
    other = io.StringIO()
    monkeypatch.setattr(sys, "stderr" if which == "stdout" else "stdout", other)
    monkeypatch.setattr(sys, which, Broken(FAULTS[name], at=at))
    lost = which == "stdout" and name in ("full", "terminal gone")
    assert telling(everything)() == int(lost)
    assert ("the standard output: " in other.getvalue()) == lost
    if which == "stderr":
        assert other.getvalue().startswith("result\na\nb\n")


@pytest.mark.parametrize("stream", [None, "closed"])
def test_no_streams_at_all(monkeypatch, stream):
    for which in ("stdout", "stderr"):
        fake = io.StringIO()
        fake.close()
        monkeypatch.setattr(sys, which, None if stream is None else fake)
    assert telling(everything)() == 0
    assert (sys.stdout is None) == (stream is None), "the streams are given back"


def test_letters_that_a_stream_does_not_know_cost_one_text():
    raw = io.BytesIO()
    outlet = Outlet(io.TextIOWrapper(raw, "ascii"))
    outlet.write("µm ")
    outlet.write("um\n")
    outlet.flush()
    assert raw.getvalue().decode().endswith("um\n")


def test_an_error_of_the_work_is_still_one(monkeypatch):
    monkeypatch.setattr(sys, "stderr", None)
    assert main(["info", "nothing-here.limn"]) == 1
    assert main(["no-such-verb"]) == 2
    assert main(["--version"]) == 0


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """A small model and an image."""
    folder = tmp_path_factory.mktemp("telling")
    spec = ModelSpec(network=UNetSpec(width=4, factors=((2, 2),)), classes=Classes((3, 7)))
    Model(spec, UNet(spec.network)).save(folder / "m.limn")
    image = np.random.default_rng(0).normal(50, 5, (64, 64)).astype(np.float32)
    tifffile.imwrite(folder / "i.tif", image)
    return folder


def shell(files, command):
    """Run a command of the shell, with P as the program: exit code and what is seen."""
    done = subprocess.run(
        ["bash", "-c", command.replace("P ", PROGRAM + " ")],
        cwd=files, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    return done.returncode, done.stdout, done.stderr


@pytest.mark.skipif(sys.platform == "win32", reason="bash closes streams")
@pytest.mark.parametrize(
    ("command", "code", "out", "err"),
    [
        ("P --help >&-", 0, "", ""),
        ("P --version | true; exit ${PIPESTATUS[0]}", 0, "", ""),
        ("P info m.limn | true; exit ${PIPESTATUS[0]}", 0, "", ""),
        ("P --version >/dev/full", 1, "", "napari-limn: the standard output: No space left on device"),
        ("P predict m.limn i.tif -o one.tif --json >&- 2>&- <&-; test -s one.tif", 0, "", ""),
    ],
)
def test_streams_of_the_shell(files, command, code, out, err):
    found = shell(files, command)
    assert found[:2] == (code, out)
    assert found[2].startswith(err)
    assert bool(found[2]) == bool(err)
    assert found[2].count("\n") <= 1


@pytest.mark.skipif(sys.platform == "win32", reason="bash closes streams")
def test_no_file_takes_the_place_of_a_closed_stream(files):
    """What a library writes to file descriptor 2 would lie in the labels."""
    look = (
        "import os, sys; from napari_limn.cli.terminal.progress import telling; "
        "f = telling(lambda: open(sys.argv[1], 'wb').fileno()); sys.exit(f())"
    )
    done = subprocess.run(
        ["bash", "-c", f'"{sys.executable}" -c "{look}" some.bin <&- >&- 2>&-'], cwd=files, check=False
    )
    assert done.returncode > 2
