"""An audit in the window: a box around the patch that is asked about, and a layer to correct it in."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from napari.layers import Labels, Shapes

from napari_limn._napari.layers.camera import look_at, rectangle
from napari_limn._napari.layers.class_table import names_of, set_legend
from napari_limn._napari.layers.facts import LayerFacts
from napari_limn._napari.layers.layers import empty_labels, painted_look, placement, volume_of
from napari_limn.annotation.classes import default_name
from napari_limn.annotation.legend import Legend
from napari_limn.errors import LimnError
from napari_limn.evaluation.audit import AUDIT_SUFFIX, Audit, estimate, joint_counts
from napari_limn.volume.axes import GRID
from napari_limn.volume.boxes import shape_of, slices

if TYPE_CHECKING:
    from pathlib import Path

    from napari.components import ViewerModel
    from numpy.typing import NDArray

    from napari_limn.annotation.classes import ZeroMeaning
    from napari_limn.evaluation.audit import Frame
    from napari_limn.volume.boxes import Box

_EDGE = 1 / 32  # of the side of a patch: how thick its box is drawn


class AuditView:
    """One audit of one labels layer.

    Parameters
    ----------
    viewer, layer
        Where it is shown, and the labels that are audited.
    frame
        All patches of these labels.
    beside
        File that the audit is saved beside, under a name that tells of which labels it is; None keeps it in memory.
    names
        Of the classes, by label value, where the layer has none.

    Raises
    ------
    LimnError
        If there is a file of that name which is no audit of these labels.
    """

    def __init__(
        self, viewer: ViewerModel, layer: Labels, frame: Frame, beside: Path | None, names: dict[int, str]
    ) -> None:
        self.viewer, self.layer, self.frame, self._names = viewer, layer, frame, names
        self.path = beside and beside.with_name(f"{beside.name}.{frame.digest}{AUDIT_SUFFIX}")
        self.audit = Audit.load(self.path, frame) if self.path else Audit(frame.digest)
        self._volume = volume_of(layer)
        self._axes = self._volume.axes.names
        self._box: Shapes | None = None
        self.corrections: Labels | None = None
        self.patch: int | None = None
        self.correcting = False

    @property
    def alive(self) -> bool:
        """Whether the labels are still there."""
        return self.layer in self.viewer.layers

    @property
    def names(self) -> dict[int, str]:
        """Name of each class, as the labels call it now."""
        known = self._names | names_of(self.layer)
        return {value: known.get(value, default_name(value)) for value in self.frame.values}

    def next(self) -> bool:
        """Show the next patch; False when every one was seen."""
        _, self.patch = self.audit.drawn(self.frame)
        self._lay_down()
        if self.patch is None:
            return False
        box = self.frame.box(self.patch)
        self._outline(box)
        look_at(self.viewer, self.layer, self._axes, box)
        return True

    def correct(self) -> None:
        """Copy the patch into the layer of corrections, and take up the brush."""
        if self.patch is None:
            return
        layer = self._layer_of_corrections()
        box = self.frame.box(self.patch)
        layer.data[self._index(box)] = self._volume.squeezed(self._found(box))
        layer.refresh()
        self._take_up_classes(layer)
        self.viewer.layers.move(self.viewer.layers.index(layer), len(self.viewer.layers))
        self.viewer.layers.selection.active = layer
        layer.editable = True
        layer.mode = "paint"
        self.correcting = True

    def accept(self) -> int:
        """Take the patch as it is, or as it was corrected; returns how many pixels were.

        Raises
        ------
        LimnError
            If something was painted that is no class of the labels, or the layer of corrections was removed.
        """
        if self.patch is None:
            return 0
        box = self.frame.box(self.patch)
        found = true = self._found(box)
        if [np.count_nonzero(found == value) for value in self.frame.values] != [
            *self.frame.counts[self.patch]
        ]:
            raise LimnError(
                "the labels in the box are not those that the audit began with; undo what was painted on them and press Correct, "
                "or press Audit to begin with the labels of now."
            )
        if self.correcting:
            if self.corrections is None or self.corrections not in self.viewer.layers:
                self.correcting = False
                raise LimnError(
                    "the layer with your corrections of this patch was removed; press Correct to paint them again, or Accept if "
                    "the labels in the box are right as they are."
                )
            true = volume_of(self.corrections).read(box)[0]
        self._say(joint_counts(found, true, self.frame.values))
        return int(np.count_nonzero(found != true))

    def skip(self) -> None:
        """Say nothing of the patch."""
        if self.patch is not None:
            self._say(None)

    def sentences(self) -> list[str]:
        """What is known of each class by now."""
        found = estimate(self.frame, self.audit)
        return [
            f"Dice of {self.names[value]} {dice} for the whole image; IoU {dice.iou}"
            for value, dice in found.items()
        ]

    def close(self) -> None:
        """Take the box away."""
        if self._box is not None and self._box in self.viewer.layers:
            self.viewer.layers.remove(self._box)
        self._box, self.patch = None, None
        self._lay_down()

    def _lay_down(self) -> None:
        """Nothing is corrected now: paint on another patch than the one that is asked about would count for nothing."""
        self.correcting = False
        if self.corrections is not None:
            self.corrections.editable = False

    def _say(self, counts: Any) -> None:
        if self.patch is not None:
            audit = self.audit.with_verdict(self.patch, counts)
            if self.path is not None:  # a verdict that cannot be kept does not count
                audit.save(self.path)
            self.audit = audit

    def _found(self, box: Box) -> NDArray[Any]:
        found: NDArray[Any] = self._volume.read(box)[0]
        return found

    def _index(self, box: Box) -> tuple[slice, ...]:
        at = dict(zip(GRID, slices(box), strict=True))
        return tuple(at[name] for name in self._axes)

    def _outline(self, box: Box) -> None:
        """Draw the box; the layer that the person works on stays the active one."""
        corners = rectangle(self._axes, box)
        if self._box is not None and self._box in self.viewer.layers:
            self._box.data = [corners]  # a new layer would take a quarter of a second
            return
        active = self.viewer.layers.selection.active
        width = max(1.0, _EDGE * max(shape_of(box)[2:]))
        self._box = Shapes(
            [corners], shape_type="rectangle", edge_width=width, edge_color="yellow", face_color="transparent",
            name="audit patch", **placement(self.layer, self._volume),
        )  # fmt: skip
        self._box.editable = False
        self.viewer.add_layer(self._box)
        self.viewer.layers.selection.active = active if active in self.viewer.layers else self.layer

    def _take_up_classes(self, layer: Labels) -> None:
        """Call and show the classes as the labels do now, and take one that can be painted with; the person's choice stays."""
        values = self.frame.values
        zero: ZeroMeaning = "background" if 0 in values else "unlabelled"
        set_legend(layer, Legend.of(values, self.names, painted_look(self.layer, values), zero))
        if layer.selected_label not in values and self.patch is not None:
            counts = np.where(
                values, self.frame.counts[self.patch], 0
            )  # background is no paint to begin with
            layer.selected_label = max(zip(counts.tolist(), values, strict=True))[1]

    def _layer_of_corrections(self) -> Labels:
        if self.corrections is None or self.corrections not in self.viewer.layers:
            self.corrections = Labels(
                empty_labels(self._volume, self._volume.dtype),
                name=f"{self.layer.name} corrected",
                colormap=self.layer.colormap,
                metadata=LayerFacts(audit=self.frame.digest).to_metadata(),
                **placement(self.layer, self._volume),
            )
            self.viewer.add_layer(self.corrections)
        return self.corrections
