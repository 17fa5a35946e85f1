"""Open napari on the results of the demo and take a screenshot.

Run ``python -m napari_limn._napari.demo_window OUT PICTURE``.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import imageio.v3 as imageio
import napari
from qtpy.QtWidgets import QApplication

from napari_limn import samples
from napari_limn._napari.dock.dock import LimnWidget
from napari_limn._napari.files.samples import painted_sem
from napari_limn._napari.layers.layers import show_labels, volume_of
from napari_limn._napari.panel.session import session_of
from napari_limn.volume.boxes import whole
from napari_limn.volume.reading.open import open_volume

if TYPE_CHECKING:
    from napari.viewer import Viewer

_EXTENT = 1500, 950  # of the window, in pixels


def main(out: Path, picture: Path) -> None:
    """Show image, strokes and prediction of the demo.

    They come from `out`; a screenshot is written to `picture`.
    """
    viewer = napari.Viewer(title="Limn")
    viewer.window.resize(*_EXTENT)  # before the widgets: they keep the window as high as they found it
    for data, look, kind in painted_sem():
        getattr(viewer, f"add_{kind}")(data, **look)
    image, strokes = viewer.layers
    models = session_of(viewer).models
    name = models.load(out / "demo.limn")
    labels = open_volume(out / f"{samples.PAINTED.image.stem}_labels.tif")
    data = labels.read(whole(labels.grid))[0, 0, 0]
    shown = show_labels(viewer, image, volume_of(image), data, models[name].spec.classes, name)
    shown.opacity, strokes.opacity = 0.35, 1.0
    viewer.layers.move(viewer.layers.index(strokes), len(viewer.layers))
    widget = LimnWidget(viewer)
    viewer.window.add_dock_widget(widget, name="Limn", area="right")
    widget.unfold("apply")
    viewer.layers.selection.active = strokes
    screenshot(viewer, picture)
    viewer.close()


def screenshot(viewer: Viewer, picture: Path) -> None:
    """Write a picture of the whole window, 1500 × 950 pixels."""
    viewer.window.resize(*_EXTENT)
    until = time.monotonic() + 1.5
    while time.monotonic() < until:
        QApplication.processEvents()
    imageio.imwrite(picture, viewer.screenshot(canvas_only=False, flash=False))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
