"""The main job on real data, in one command.

Train on strokes, predict, score, and show it in napari.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

from napari_limn import samples
from napari_limn.errors import LimnError
from napari_limn.evaluation.scores import score
from napari_limn.files.durable import disk_faults
from napari_limn.files.working import is_there, whole_file
from napari_limn.inference.pipeline import prediction_events
from napari_limn.report.overlay import draw_overlay
from napari_limn.specs import parse_json
from napari_limn.training.spec import TrainSpec
from napari_limn.training.trainer import training_events
from napari_limn.volume.boxes import whole
from napari_limn.volume.reading.open import open_volume

if TYPE_CHECKING:
    from collections.abc import Callable, Generator
    from pathlib import Path

    from napari_limn.model import Model
    from napari_limn.runs import Event

_WINDOW_SECONDS = 120
_MARK = ".limn-demo"  # in a folder whose results may be written over
_SHOWN = {value: color for value, color in samples.COLORS.items() if samples.NAMES[value] != "background"}
_MODEL, _SCORES, _PICTURE = "demo.limn", "scores.json", "window.png"


def run_demo(
    out: Path,
    seconds: float,
    *,
    window: bool,
    watch: Callable[[Generator[Event, None, Any]], Any],
    say: Callable[[str], object],
) -> dict[str, Any]:
    """Run the demo.

    Results go to the folder `out`, over those of an earlier demo.

    Parameters
    ----------
    out
        Folder; made if it is not there.
    seconds
        Training time.
    window
        Whether to open napari and take a screenshot.
    watch
        Drains a run and shows its progress.
    say
        Shows one line.

    Raises
    ------
    LimnError
        If files that are not of an earlier demo have the names of its results.

    Returns
    -------
    Scores by image (IoU by paint value, mean), paths, and the time everything took in seconds.
    """
    began = time.perf_counter()
    out.mkdir(parents=True, exist_ok=True)
    _refuse_foreign(out)
    (out / _MARK).touch()
    image, strokes = samples.PAINTED.image, open_volume(samples.PAINTED.strokes)
    painted = float((strokes.read(whole(strokes.grid)) > 0).mean())
    say(f"Training for {seconds:g} s on strokes over {painted:.2%} of {image.name} (SEM, rat spinal cord).")
    spec = TrainSpec(seconds=seconds)
    model = watch(training_events(image, strokes, spec, colors=samples.COLORS, names=samples.NAMES))
    model.save(out / _MODEL)
    scores = {}
    for what, sample in (("painted", samples.PAINTED), ("unseen", samples.UNSEEN)):
        scores[what], each = _labelled(model, sample, out, watch)
        say(f"{sample.image.name} ({what}): {each} -> {out / _labels_name(sample)}, {_picture_name(sample)}")
    result: dict[str, Any] = {
        "painted_share": painted,
        "scores": scores,
        "model": str(out / _MODEL),
        "screenshot": _screenshot(out, say) if window else None,
    }
    result["seconds"] = round(time.perf_counter() - began, 1)
    with disk_faults(out / _SCORES, "the rest is there"), whole_file(out / _SCORES) as file:
        file.write((json.dumps(result, indent=2) + "\n").encode())
    return result | {"text": f"Done in {result['seconds']} s; everything is in {out}."}


def _labels_name(sample: samples.SampleImage) -> str:
    return f"{sample.image.stem}_labels.tif"


def _picture_name(sample: samples.SampleImage) -> str:
    return f"{sample.image.stem}_labels.png"


def _refuse_foreign(out: Path) -> None:
    """Refuse a folder where results would take the names of other files."""
    both = (samples.PAINTED, samples.UNSEEN)
    names = (_MODEL, _SCORES, _PICTURE, *map(_labels_name, both), *map(_picture_name, both))
    if not (out / _MARK).is_file() and not _is_demo(out):
        for name in names:
            if is_there(out / name):
                raise LimnError(
                    f"{out / name}: found a file that no demo made, under the name of a result; choose another folder with --out."
                )


def _is_demo(out: Path) -> bool:
    """Say whether a demo of an earlier version ended here.

    It left no mark.
    """
    try:
        return "painted_share" in parse_json((out / _SCORES).read_bytes(), "scores")
    except (OSError, LimnError, TypeError):
        return False


def _labelled(
    model: Model, sample: samples.SampleImage, out: Path, watch: Callable[[Generator[Event, None, Any]], Any]
) -> tuple[dict[str, Any], str]:
    """Predict a sample and draw its labels: the scores, and a line."""
    labels = out / _labels_name(sample)
    watch(prediction_events(model, sample.image, labels, overwrite=True))
    picture = out / _picture_name(sample)
    draw_overlay(picture, open_volume(sample.image), open_volume(labels), _SHOWN, overwrite=True)
    return _scores_of(labels, sample)


def _scores_of(labels: Path, sample: samples.SampleImage) -> tuple[dict[str, Any], str]:
    """Score the labels of a sample: the scores, and a line."""
    result = score(labels, sample.truth)
    by_name = {samples.NAMES[value]: iou for value, iou in result.iou.items()}
    each = ", ".join(f"{name} {iou:.3f}" for name, iou in by_name.items())
    return {"mean_iou": result.mean_iou, "iou": by_name}, f"mean IoU {result.mean_iou:.3f} ({each})"


def _screenshot(out: Path, say: Callable[[str], object]) -> str | None:
    """Open napari on the results in a process of its own.

    A missing system library would abort this one.
    """
    picture = out / _PICTURE
    picture.unlink(missing_ok=True)
    command = [sys.executable, "-m", "napari_limn._napari.demo_window", str(out), str(picture)]
    headless = (
        sys.platform == "linux" and not os.environ.get("DISPLAY") and not os.environ.get("WAYLAND_DISPLAY")
    )
    if headless and shutil.which("xvfb-run"):
        command = ["xvfb-run", "-a", "-s", "-screen 0 1600x1000x24", *command]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_WINDOW_SECONDS, check=False)
        said = done.stderr.strip().splitlines() or [f"exit code {done.returncode}"]
    except subprocess.TimeoutExpired:
        said = [f"no answer within {_WINDOW_SECONDS} s"]
    if picture.exists():
        say(f"Screenshot of the window: {picture}")
        return str(picture)
    say(f"napari could not open a window here ({said[-1]}); everything else is done. To fix it: "
        "python -m napari_limn._napari.system_libraries")  # fmt: skip
    return None
