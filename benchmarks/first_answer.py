"""From a dropped image to its first answer, in the dock: presses, docks, seconds after the second class, gaps in the window's thread.

python benchmarks/first_answer.py            (under a display, or xvfb-run -a -s "-screen 0 1600x1000x24")

What napari alone needs for an image and a labels layer is measured first, in the same process. Blobs of two kinds stand for images of two
kinds; nobody presses anything but the brush.
"""

from __future__ import annotations

import os
import tempfile
import time
from pathlib import Path

if __name__ == "__main__":  # before napari is imported: the user's settings and journals are not touched
    OWN = tempfile.mkdtemp(prefix="limn-first-answer-")
    os.environ |= {"NAPARI_CONFIG": f"{OWN}/settings.yaml", "XDG_DATA_HOME": OWN, "LOCALAPPDATA": OWN}

import napari
import numpy as np
import tifffile
from qtpy.QtWidgets import QApplication, QDockWidget
from scipy import ndimage

from napari_limn._napari.layers.facts import facts_of
from window import Heartbeat, pump

SIDE = 512


def cells(seed: int, radius: float, low: float, high: float) -> tuple[np.ndarray, np.ndarray]:
    """An image of 8 bits with round cells, and where they are."""
    rng, truth = np.random.default_rng(seed), np.zeros((SIDE, SIDE), bool)
    rows, columns = np.mgrid[:SIDE, :SIDE]
    for row, column in rng.uniform(20, SIDE - 20, (50, 2)):
        truth |= (rows - row) ** 2 + (columns - column) ** 2 < radius**2
    image = ndimage.gaussian_filter(np.where(truth, high, low), 1.5) + rng.normal(0, 1.5, truth.shape)
    return image.clip(0, 255).astype(np.uint8), truth


def main() -> None:
    viewer = napari.Viewer()
    viewer.window.resize(1500, 950)
    heartbeat = Heartbeat()
    pump(lambda: False, 1.5)
    heartbeat.gaps.clear()
    image, _ = cells(9, 14, 40, 160)
    viewer.add_image(image, name="alone")
    viewer.add_labels(np.zeros((SIDE, SIDE), np.uint8), name="alone too").mode = "paint"
    pump(lambda: False, 2)
    heartbeat.report("napari alone: an image and a labels layer")
    viewer.layers.clear()
    pump(lambda: False, 1)
    heartbeat.gaps.clear()
    viewer.window.add_plugin_dock_widget("napari-limn", "Limn")
    pump(lambda: False, 8)
    heartbeat.report("opening the dock, and 8 s")
    for number, (radius, low, high) in enumerate(((14, 6, 40), (8, 60, 200))):
        image, truth = cells(number, radius, low, high)
        path = Path(OWN) / f"kind{number}.tif"
        tifffile.imwrite(path, image)
        heartbeat.gaps.clear()
        viewer.open(str(path), plugin="napari-limn")
        pump(lambda: False, 1)
        heartbeat.report(f"image {number}: opened")
        layer, strokes = viewer.layers[path.stem], viewer.layers.selection.active
        assert facts_of(strokes).belongs_to(layer), "the strokes are of another image"
        assert str(strokes.mode) == "paint"
        strokes.brush_size = 5
        depth, away = ndimage.distance_transform_edt(truth), ndimage.distance_transform_edt(~truth)
        for value, deep in ((1, away), (2, depth)):
            places = np.argwhere(deep > 0.5 * deep.max())
            for row, column in places[:: max(1, len(places) // 12)][:12]:
                strokes.paint((int(row), int(column)), value)
        began = time.monotonic()

        def answered(layer: object = layer) -> bool:
            shown = [x for x in viewer.layers if facts_of(x).kind == "live" and facts_of(x).belongs_to(layer)]
            return any(x.visible and (np.asarray(x.data) > 0).all() for x in shown)

        pump(answered, 60)
        took = time.monotonic() - began
        shown = next(x for x in viewer.layers if facts_of(x).kind == "live" and facts_of(x).belongs_to(layer))
        pump(lambda: False, 5)
        right = float(((np.asarray(shown.data) == 2) == truth).mean())
        docks = [
            d
            for w in QApplication.topLevelWidgets()
            for d in w.findChildren(QDockWidget)
            if "napari-limn" in d.objectName()
        ]
        print(
            f"image {number}: first answer after {took:.1f} s, 0 presses, {len(docks)} dock; {right:.1%} right 5 s later"
        )
        heartbeat.report(f"image {number}: painting and live")
    viewer.close()
    pump(lambda: False, 1)


if __name__ == "__main__":
    main()
