"""Two predictions of an image: their difference, and how large it is."""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari.layers import Labels

from napari_limn._napari.layers.class_table import names_of
from napari_limn._napari.layers.facts import LayerFacts, facts_of
from napari_limn._napari.layers.layers import (
    colormap,
    is_untouched,
    lies_on,
    named,
    painted_look,
    volume_of,
)
from napari_limn._napari.layers.refresh import field_of, shown
from napari_limn.errors import LimnError
from napari_limn.evaluation.difference import Pair, plane_in_sight
from napari_limn.volume.axes import GRID
from napari_limn.volume.boxes import overlap, size_of

if TYPE_CHECKING:
    from napari.components import ViewerModel

    from napari_limn.volume.boxes import Box

_GREY = (0.6, 0.6, 0.6, 1.0)  # of “background” in a difference, where it must be seen
_PLACEMENT = ("scale", "translate", "rotate", "shear", "affine", "units", "axis_labels")


def keep(layer: Labels) -> None:
    """Name a prediction after its model.

    So the next prediction of its image does not replace it.
    """
    if is_untouched(layer):
        facts = facts_of(layer)
        layer.name = f"{facts.image} {facts.kind} ({facts.model})"


def pair_among(
    layers: list[Labels], first: Labels | None, second: Labels | None
) -> tuple[Labels | None, Labels | None]:
    """Return two different predictions.

    Those chosen if they are still there; else the newest is the second, and the first one of the same image if there is one.
    """
    newest = layers[0] if layers else None
    if second not in layers or second is first:
        second = newest
    if first not in layers or first is second:
        others = [layer for layer in layers if layer is not second]
        of_image = (x for x in others if second is not None and facts_of(x).has_image_of(facts_of(second)))
        first = next(of_image, others[0] if others else None)
    return first, second


def pair_of(first: Labels | None, second: Labels | None) -> Pair:
    """Return the labels of two predictions, level by level.

    Raises
    ------
    LimnError
        If they are not two, or not of one image.
    """
    if first is None or second is None or first is second:
        raise LimnError("found one prediction, expected two; keep this one and predict with another model.")
    one, other = (list(layer.data) if layer.multiscale else [layer.data] for layer in (first, second))
    names = {**names_of(first), **names_of(second)}
    pair = Pair(one, other, volume_of(second).axes.names, max(names) + 1 if 0 in names else 0)
    if not lies_on(first, second):
        raise LimnError(
            f"{first.name}: found in another place than {second.name}, expected the same, since voxel is compared with voxel; predict "
            "the image again where it lies now."
        )
    return pair


def difference_layer(first: Labels, second: Labels) -> Labels:
    """Return a layer of where two predictions disagree.

    It looks like the second; nothing is read.

    Raises
    ------
    LimnError
        If they are not of one image.
    """
    pair = pair_of(first, second)
    names = names_of(second)
    colors = painted_look(second, names)
    if pair.zero:
        names, colors = {**names, pair.zero: names.get(0, "background")}, {**colors, pair.zero: _GREY}
    facts = LayerFacts(difference=(first.name, second.name))
    look = named({value: name for value, name in names.items() if value}, facts)
    look["features"]["class"][0] = "the same"
    place = {what: getattr(second, what) for what in _PLACEMENT}
    name = f"{_title(second)} difference"
    return Labels(**shown(pair.difference()), name=name, colormap=colormap(colors), **look, **place)


def _title(prediction: Labels) -> str:
    """Give the image's name; the layer's own if painted on."""
    facts = facts_of(prediction)
    return facts.image if facts.is_prediction and facts.image is not None else prediction.name


def disagreement(viewer: ViewerModel, first: Labels, second: Labels) -> str:
    """Say how much of the visible slice differs.

    Of a large one, what can be read at once.

    Raises
    ------
    LimnError
        If the two are not of one image.
    """
    pair, names = pair_of(first, second), volume_of(second).axes.names
    if viewer.dims.ndisplay != 2:
        return "Switch to 2D to see how much of a slice differs."
    plane = _plane(viewer, second, names)
    view = overlap(plane, field_of(viewer, second, names))
    box, level, complete = plane_in_sight(pair, plane, view if size_of(view) else plane)
    counts = pair.count(box, level)
    if not counts.compared:
        return "One of the two has no labels here yet."
    about = "About " if level else ""
    where = "of this slice" if complete else "in the middle of the view"
    return f"{about}{counts.share:.2%} of the voxels {where} differ ({counts.differing:,} of {counts.compared:,})."


def _plane(viewer: ViewerModel, layer: Labels, names: str) -> Box:
    """Return the visible slice on the TZYX grid."""
    point = layer.world_to_data(viewer.dims.point)
    first = viewer.dims.ndim - layer.ndim
    spans = {}
    for i, (name, length) in enumerate(zip(names, layer.level_shapes[0], strict=True)):
        at = min(max(round(float(point[i])), 0), int(length) - 1)
        spans[name] = (0, int(length)) if i + first in viewer.dims.displayed else (at, at + 1)
    return tuple(spans.get(name, (0, 1)) for name in GRID)
