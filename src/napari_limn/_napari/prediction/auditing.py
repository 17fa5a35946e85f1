"""An audit in the window: its box, and the corrections."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from napari.layers import Labels

from napari_limn._napari.layers.camera import look_at
from napari_limn._napari.layers.class_table import names_of, set_legend
from napari_limn._napari.layers.facts import LayerFacts
from napari_limn._napari.layers.layers import active_layer, empty_labels, painted_look, placement, volume_of
from napari_limn._napari.layers.overlay import OutlineOnly
from napari_limn._napari.prediction.marked_box import MarkedBox
from napari_limn.annotation.legend import Legend
from napari_limn.volume.axes import GRID
from napari_limn.volume.boxes import slices

if TYPE_CHECKING:
    from napari.components import ViewerModel
    from numpy.typing import NDArray

    from napari_limn._napari.prediction.audit_progress import AuditProgress
    from napari_limn.annotation.classes import ZeroMeaning
    from napari_limn.volume.boxes import Box


class AuditView:
    """Show one audit of one labels layer.

    Parameters
    ----------
    viewer, layer
        Where it is shown, and the labels that are audited.
    progress
        What is asked and what was judged.
    names
        Of the classes, by label value, where the layer has none.
    """

    def __init__(
        self, viewer: ViewerModel, layer: Labels, progress: AuditProgress, names: dict[int, str]
    ) -> None:
        self.viewer, self.layer, self.progress, self._names = viewer, layer, progress, names
        self._volume = volume_of(layer)
        self._axes = self._volume.axes.names
        self._box, self._outline = MarkedBox(viewer, "audit patch"), OutlineOnly(viewer)
        self.corrections: Labels | None = None
        self._before = active_layer(viewer)  # the user goes on with that

    @property
    def alive(self) -> bool:
        """Return whether the labels are still there."""
        return self.layer in self.viewer.layers

    def next(self) -> bool:
        """Show the next patch; return False when every one was seen."""
        box = self.progress.next()
        self._lock_corrections()
        if box is None:
            return False
        self._box.show(self.layer, box)
        self._outline.begin([self.layer], keep=[self.corrections] if self.corrections is not None else [])
        look_at(self.viewer, self.layer, self._axes, box)
        return True

    def correct(self) -> None:
        """Copy the patch into a layer to paint over it."""
        if (box := self.progress.box) is None:
            return
        layer = self._layer_of_corrections()
        layer.data[self._index(box)] = self._volume.squeezed(self._read(box))
        layer.refresh()
        self._take_up_classes(layer)
        self.viewer.layers.move(self.viewer.layers.index(layer), len(self.viewer.layers))
        self.viewer.layers.selection.active = layer
        layer.editable = True
        layer.mode = "paint"
        self.progress.correcting = True

    def accept(self) -> int:
        """Take the patch as right; return how many pixels were corrected."""
        if (box := self.progress.box) is None:
            return 0
        layer, corrected = self.corrections, None
        if self.progress.correcting and layer is not None and layer in self.viewer.layers:
            corrected = volume_of(layer).read(box)[0]
        return self.progress.accept(self._read(box), corrected)

    def skip(self) -> None:
        """Pass over the patch."""
        self.progress.skip()

    def sentences(self) -> list[str]:
        """Return what is known of each class by now."""
        return self.progress.sentences(self._known_names())

    def close(self) -> None:
        """Take the box away, and go back to the former view."""
        self._box.hide()
        self._outline.end()
        self.progress.end()
        self._lock_corrections()

    def finish(self) -> None:
        """Take all layers of the audit away; choose the former one."""
        self.close()
        if self.corrections is not None and self.corrections in self.viewer.layers:
            self.viewer.layers.remove(self.corrections)
        self.corrections = None
        if self._before is not None and self._before in self.viewer.layers:
            self.viewer.layers.selection.active = self._before

    def _lock_corrections(self) -> None:
        """Forbid paint on another patch than the one asked about.

        It would count for nothing.
        """
        if self.corrections is not None:
            self.corrections.editable = False

    def _known_names(self) -> dict[int, str]:
        return self._names | names_of(self.layer)

    def _read(self, box: Box) -> NDArray[Any]:
        labels: NDArray[Any] = self._volume.read(box)[0]
        return labels

    def _index(self, box: Box) -> tuple[slice, ...]:
        at = dict(zip(GRID, slices(box), strict=True))
        return tuple(at[name] for name in self._axes)

    def _take_up_classes(self, layer: Labels) -> None:
        """Show the classes of the labels, and take one to paint with.

        The user's choice stays.
        """
        values = self.progress.frame.values
        zero: ZeroMeaning = "background" if 0 in values else "unlabelled"
        names = self.progress.names(self._known_names())
        set_legend(layer, Legend.of(values, names, painted_look(self.layer, values), zero))
        selected = layer.selected_label
        if (brush := self.progress.brush(selected)) != selected:
            layer.selected_label = brush

    def _layer_of_corrections(self) -> Labels:
        if self.corrections is None or self.corrections not in self.viewer.layers:
            self.corrections = Labels(
                empty_labels(self._volume, self._volume.dtype),
                name=f"{self.layer.name} corrected",
                colormap=self.layer.colormap,
                metadata=LayerFacts(audit=self.progress.frame.digest).to_metadata(),
                **placement(self.layer, self._volume),
            )
            self.viewer.add_layer(self.corrections)
        return self.corrections
