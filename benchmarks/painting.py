"""How fast painting answers on an image of 30 GB: time of a touch of the brush, and of a whole stroke by mouse, journal on.

    python benchmarks/painting.py [--strokes 200] [--zarr]     (under a display, or xvfb-run -a -s "-screen 0 1600x1000x24")

The image is a Zarr of 1000 × 4096 × 3662 voxels of 16 bits of which one chunk is stored. A stroke is a press, twenty moves and a
release of the mouse in a real window; what is timed is the handling of these events, without and with the redraws of the canvas.
With --zarr the labels lie in a Zarr on the disk instead, without a journal, for comparison. At last dense labels of 16.8 million voxels
are added and corrected once, in the processor's time: each of both keeps the window waiting as long as it takes.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import napari
import numpy as np
import zarr
from qtpy.QtCore import QPoint, Qt
from qtpy.QtTest import QTest
from qtpy.QtWidgets import QApplication, QWidget
from scipy import ndimage

from napari_limn._napari.painting.recorder import journals_of
from napari_limn._napari.painting.strokes import StrokesWidget
from napari_limn.annotation.journal.format import Header, read_journal, replay
from napari_limn.annotation.journal.pieces import StrokePiece
from napari_limn.annotation.journal.recording import Recording
from napari_limn.annotation.journal.writer import Journal
from napari_limn.annotation.strokes import find_paint
from napari_limn.volume.axes import Axes
from napari_limn.volume.volume import Volume

if TYPE_CHECKING:
    from napari_limn.annotation.journal.sparse_labels import PaintStore

SHAPE = (1000, 4096, 3662)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--strokes", type=int, default=200)
    parser.add_argument("--zarr", action="store_true")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "huge.zarr"
        stored = zarr.create_array(path, shape=SHAPE, chunks=(1, 512, 512), dtype="u2", fill_value=0)
        stored[500, :512, :512] = 7
        viewer = napari.Viewer()
        viewer.open(str(path), plugin="napari-limn")
        measure(viewer, Path(folder), args)
        viewer.close()
    dense()


def measure(viewer: napari.Viewer, folder: Path, args: argparse.Namespace) -> None:
    widget = StrokesWidget(viewer)
    viewer.window.add_dock_widget(widget, name="Strokes", area="right")
    viewer.window.resize(1500, 950)
    pump(1)
    viewer.dims.set_point(0, 500)
    if args.zarr:
        labels = zarr.create_array(
            folder / "labels.zarr", shape=SHAPE, chunks=(1, 256, 256), dtype="u1", fill_value=0
        )
        layer = viewer.add_labels(labels)
        viewer.layers.selection.active = layer
        layer.mode = "paint"
    else:
        widget.new_layer()
        layer = list(viewer.layers)[-1]
    layer.brush_size = 20
    pump(1)
    chance = np.random.default_rng(0)
    touches = []
    for _ in range(args.strokes):
        y, x = chance.integers(100, 3500, 2)
        began = time.perf_counter()
        layer.paint((500, y, x), 1)
        touches.append(time.perf_counter() - began)
    report("one touch, layer.paint()", touches)
    canvas = next(
        w for w in widget.window().findChildren(QWidget) if type(w).__name__ == "CanvasBackendDesktop"
    )
    events, drawn = [], []
    for number in range(args.strokes):
        layer.selected_label = 1 + number % 3
        places = stroke(chance, canvas)
        began = time.perf_counter()
        QTest.mousePress(canvas, Qt.MouseButton.LeftButton, pos=places[0])
        for place in places:
            QTest.mouseMove(canvas, place)
        QTest.mouseRelease(canvas, Qt.MouseButton.LeftButton, pos=places[-1])
        events.append(time.perf_counter() - began)
        QApplication.processEvents()
        drawn.append(time.perf_counter() - began)
    report("a stroke by mouse: press, 20 moves, release", events)
    report("the same and the redraw of the canvas", drawn)
    journals = journals_of(widget, viewer)
    if journals is not None and (recorder := journals.of(layer)) is not None:
        pump(0.5)
        check(layer.data, recorder.recording.journal)


def dense() -> None:
    """Begin the journal of a prediction that a person corrects: three classes, blobs of some 20 voxels across."""
    noise = ndimage.gaussian_filter(
        np.random.default_rng(0).standard_normal((64, 512, 512), np.float32), (3, 9, 9)
    )
    labels = np.digitize(noise, [0, 0.005]).astype(np.uint8) + 1
    with tempfile.TemporaryDirectory() as folder:
        header = Header("cells", "", "", "labels", labels.shape, "uint8", Axes.of("ZYX"))
        times = [time.process_time()]
        recording = Recording(lambda: Journal.create(Path(folder) / "cells.strokes.jsonl", header), labels)
        times.append(time.process_time())
        recording.painted([StrokePiece(((3, 4), (10, 20), (10, 20)), None, 1)])
        times.append(time.process_time())
        recording.close()
    added, corrected = np.diff(times)
    print(
        f"dense labels of {labels.size / 1e6:.1f} million voxels: added {added:.2f} s, corrected first {corrected:.2f} s"
    )


def check(store: PaintStore, journal: Journal) -> None:
    contents = read_journal(journal.path)
    began = time.perf_counter()
    rebuilt = replay(contents)
    took = time.perf_counter() - began
    same = rebuilt.boxes() == store.boxes() and all(
        np.array_equal(rebuilt.read(box), store.read(box)) for box in rebuilt.boxes()
    )
    began = time.perf_counter()
    paint = find_paint(Volume.of(store, "ZYX"), "unlabelled")
    found = time.perf_counter() - began
    count = len(contents.records)
    print(
        f"journal: {count} records, {journal.path.stat().st_size / count:.0f} bytes each, {journal.synced} on the disk; "
        f"replayed in {took:.2f} s, {'the same' if same else 'NOT THE SAME'}\n"
        f"store: {store.nbytes / 1e6:.1f} MB; {len(paint.where)} painted voxels found in {1000 * found:.0f} ms"
    )


def stroke(chance: np.random.Generator, canvas: QWidget) -> list[QPoint]:
    """Twenty places on a line across a part of the canvas."""
    size = np.array([canvas.width(), canvas.height()])
    start = (
        size / 2 + chance.uniform(-0.25, 0.25, 2) * size.min()
    )  # on the image, whatever the window's shape
    ends = start + np.arange(20)[:, None] * chance.uniform(-8, 8, 2)
    return [QPoint(round(x), round(y)) for x, y in ends]


def report(what: str, seconds: list[float]) -> None:
    times = 1000 * np.array(seconds)
    print(f"{what}: median {np.median(times):.1f} ms, 99 % {np.percentile(times, 99):.1f} ms", flush=True)


def pump(seconds: float) -> None:
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        QApplication.processEvents()
        time.sleep(0.002)


if __name__ == "__main__":
    main()
