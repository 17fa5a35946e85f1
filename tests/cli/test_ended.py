"""A command that is ended from outside: within two seconds, and no training is lost."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import tifffile

from napari_limn.cli import main
from napari_limn.inference.pipeline import predict
from napari_limn.model import Model

pytestmark = [
    pytest.mark.skipif(os.name == "nt", reason="signals"),
    pytest.mark.usefixtures("small_classifier"),
]

CODES = {"SIGINT": 130, "SIGTERM": 143, "SIGHUP": 129}
TINY = {"seconds": 300, "patch": [32, 32], "network": {"width": 4, "factors": [[2, 2], [2, 2]]}}
COMMAND = "import sys, torch; torch.set_num_threads(1)\nfrom napari_limn.cli import main\nsys.exit(main())\n"


@pytest.fixture(autouse=True)
def _signals_as_in_a_terminal():
    """Take nothing over from what began the tests: in the background, SIGINT and SIGHUP are ignored."""
    before = {
        signal.SIGINT: signal.signal(signal.SIGINT, signal.default_int_handler),
        signal.SIGHUP: signal.signal(signal.SIGHUP, signal.SIG_DFL),
    }
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.fixture
def files(tmp_path):
    """An image of two halves, strokes on each, and a spec of a small network."""
    image = np.random.default_rng(0).normal(50, 5, (96, 80)).astype(np.float32)
    image[48:] += 100
    strokes = np.zeros(image.shape, np.uint8)
    strokes[10:12, 5:70], strokes[30:32, 5:70] = 3, 3
    strokes[60:62, 5:70], strokes[80:82, 5:70] = 7, 7
    tifffile.imwrite(tmp_path / "image.tif", image)
    tifffile.imwrite(tmp_path / "strokes.tif", strokes)
    (tmp_path / "spec.json").write_text(json.dumps(TINY))
    return tmp_path


def training(files, *more, out="m.limn"):
    images = [files / "image.tif", files / "strokes.tif"]
    return [*map(str, ["train", *images, "-o", files / out, "--spec", files / "spec.json", *more])]


def started(arguments, **options):
    command = [sys.executable, "-c", COMMAND, *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **options)


def wait_for(path, process, seconds=120.0):
    until = time.monotonic() + seconds
    while not path.exists():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < until
        time.sleep(0.02)


def ended(process, name):
    """Send a signal; exit code, what was said, and the seconds it took."""
    began = time.monotonic()
    process.send_signal(getattr(signal, name))
    out, err = process.communicate(timeout=60)
    assert "Traceback" not in err
    return process.returncode, out, err, time.monotonic() - began


def works(path, files):
    labels = predict(Model.load(path), files / "image.tif")
    return set(np.unique(labels)) <= {3, 7}


# ---- in this process -------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("name", CODES)
def test_a_signal_ends_a_training_with_the_best_so_far(files, capsys, monkeypatch, name):
    from napari_limn.checkpoint import Checkpoint

    def keep(self, model):
        kept.append(model)
        real(self, model)
        os.kill(os.getpid(), getattr(signal, name))

    kept, real, handler = [], Checkpoint.keep, signal.getsignal(signal.SIGTERM)
    monkeypatch.setattr(Checkpoint, "keep", keep)
    assert main(training(files)) == CODES[name]
    out, err = capsys.readouterr()
    assert out.startswith(f"Stopped; best so far: {files / 'm.limn'}: ")
    assert err == ""
    assert Model.load(files / "m.limn").digest == kept[-1].digest
    assert works(files / "m.limn", files)
    assert not (files / "m.limn.partial").exists()
    assert signal.getsignal(signal.SIGTERM) == handler


@pytest.mark.parametrize("name", CODES)
def test_a_signal_before_there_is_anything_is_one_word(files, capsys, monkeypatch, name):
    monkeypatch.setattr(
        "napari_limn.volume.reading.open.open_volume", lambda *_: os.kill(os.getpid(), getattr(signal, name))
    )
    assert main(training(files)) == CODES[name]
    said = "interrupted" if name == "SIGINT" else f"ended by {name}"
    assert capsys.readouterr().err == f"napari-limn: {said}.\n"
    assert sorted(p.name for p in files.iterdir()) == ["image.tif", "spec.json", "strokes.tif"]


def test_a_signal_that_is_ignored_stays_so(files, capsys, monkeypatch):
    earlier = signal.signal(signal.SIGHUP, signal.SIG_IGN)  # as nohup does
    try:
        monkeypatch.setattr(
            "napari_limn.annotation.journal.export.journal_info",
            lambda _: os.kill(os.getpid(), signal.SIGHUP) or {"text": "went on"},
        )
        assert main(["journal", "info", "x"]) == 0
        assert capsys.readouterr().out == "went on\n"
    finally:
        signal.signal(signal.SIGHUP, earlier)


# ---- a process of its own --------------------------------------------------------------------------------------------
STUCK = (
    "import sys, time\n"
    "from napari_limn import cli\n"
    "from napari_limn.annotation.journal import export\n"
    "def stuck(path):\n"
    "    print('stuck', flush=True)\n"
    "    while True:\n"
    "        try:\n"
    "            time.sleep(100)\n"
    "        except KeyboardInterrupt:\n"
    "            pass\n"
    "export.journal_info = stuck\n"
    "sys.exit(cli.main())\n"
)


@pytest.mark.parametrize("name", CODES)
def test_a_command_that_does_not_hear_is_ended_within_two_seconds(name):
    process = subprocess.Popen(
        [sys.executable, "-c", STUCK, "journal", "info", "x"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stdout.readline() == "stuck\n"
    code, _, err, took = ended(process, name)
    assert code == CODES[name]
    assert took < 2
    assert err.count("\n") == 1


MOMENTS = [
    pytest.param(share, marks=[] if share == 0 else pytest.mark.exhaustive)
    for share in (0, *np.random.default_rng(26).random(9).round(2))
]


@pytest.mark.parametrize("share", MOMENTS)
@pytest.mark.parametrize("name", ["SIGKILL", *(pytest.param(n, marks=pytest.mark.exhaustive) for n in CODES)])
def test_a_training_that_is_ended_leaves_a_model_that_works(files, name, share):
    process = started(training(files))
    kept = files / "m.limn.partial" / "m.limn"
    wait_for(kept, process)
    time.sleep(3 * share)
    code, out, err, took = ended(process, name)
    assert code == CODES.get(name, -9)
    assert took < 2.5  # two, and what the machine adds
    if name == "SIGKILL":
        assert works(kept, files)
        assert main(training(files)) == 1  # says what lies there, and leaves it
        assert works(kept, files)
        (files / "spec.json").write_text('{"steps": 1}')
        assert main(training(files, "--from", kept)) == 0
    else:
        assert str(files / "m.limn") in out + err
    assert works(files / "m.limn", files)
    assert not (files / "m.limn.partial").exists()


# ---- two at once -----------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("overwrite", [False, True])
def test_of_two_trainings_of_one_name_one_goes_on_and_the_other_says_why(files, capsys, overwrite):
    from napari_limn.checkpoint import Checkpoint

    more = ["--overwrite"] if overwrite else []
    with Checkpoint(files / "m.limn", overwrite=overwrite):
        assert main(training(files, *more)) == 1
    err = capsys.readouterr().err
    assert err == (
        f"napari-limn: {files / 'm.limn'}: another run is writing it; wait for that one, or choose another name.\n"
    )
    assert not (files / "m.limn.partial").exists()


# ---- a full disk -----------------------------------------------------------------------------------------------------
@pytest.fixture
def small_disk(tmp_path):
    """A disk of 1 MB, where the system lets us have one."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "none", str(disk)]
    try:
        subprocess.run(mount, check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("no disk can be mounted here")
    yield disk
    subprocess.run(["umount", "-l", str(disk)], check=False)


def fill(disk):
    with (disk / "filler").open("wb", 0) as file:
        try:
            while file.write(bytes(4096)) == 4096:
                pass
        except OSError:
            pass


@pytest.mark.parametrize("share", MOMENTS)
@pytest.mark.exhaustive
def test_a_disk_that_fills_up_while_a_model_is_trained_does_not_lose_it(files, small_disk, share):
    process = started(training(files, "--seconds", 5, out="disk/m.limn"))
    wait_for(small_disk / "m.limn.partial" / "m.limn", process)
    time.sleep(3 * share)
    fill(small_disk)
    _, err = process.communicate(timeout=120)
    assert "Traceback" not in err
    if process.returncode == 0:
        assert works(small_disk / "m.limn", files)
    else:
        assert "the disk is full" in err
        assert works(re.search(r"kept in (\S+\.limn)\.\n", err)[1], files)
