"""Names and colours of the classes of labels layers.

Why: there is one table of classes, and it lives with the labels layer. The class list, the journal, live mode and its preview
read it there when they need it, and keep no copy. The status bar shows the names.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from napari.layers import Labels
from napari.utils.colormaps import DirectLabelColormap

from napari_limn._napari.layers.facts import facts_of, note
from napari_limn._napari.layers.layer_classes import ZERO, LayerClasses, with_clear_background
from napari_limn._napari.layers.layers import (
    active_layer,
    class_features,
    colormap,
    is_made_here,
    is_painted,
    painted_look,
)
from napari_limn._napari.layers.listening import call_all, connected
from napari_limn.annotation.legend import Legend, painted_values

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from napari.components import ViewerModel

    from napari_limn.annotation.classes import Classes, ZeroMeaning
    from napari_limn.volume.volume import RGBA

OTHER = (0.5, 0.5, 0.5, 1.0)
"""Colour of values beyond those with one of their own."""


# ---- layers that have classes ----------------------------------------------------------------------------------------
def painted_layers(viewer: ViewerModel) -> list[Labels]:
    """List the labels layers that the user paints on, the topmost first."""
    return [layer for layer in reversed(viewer.layers) if is_painted(layer)]


def chosen_strokes(viewer: ViewerModel) -> Labels | None:
    """Find the layer that is painted on: active, or else topmost."""
    layers, active = painted_layers(viewer), viewer.layers.selection.active
    return next((layer for layer in layers if layer == active), layers[0] if layers else None)


def corrected_layer(viewer: ViewerModel) -> Labels | None:
    """Find the layer of an audit that is corrected, while active."""
    active = active_layer(viewer)
    return active if active is not None and facts_of(active).audit is not None else None


def predicted_layers(viewer: ViewerModel) -> list[Labels]:
    """List the labels layers that show a prediction, the topmost first."""
    return [x for x in reversed(viewer.layers) if type(x) is Labels and facts_of(x).is_prediction]


# ---- what a layer says of its classes --------------------------------------------------------------------------------
def classes_of(layer: Labels) -> LayerClasses:
    """Read what a layer says of its classes."""
    return LayerClasses(names_of(layer), _own_colors(layer), partial(painted_look, layer), zero_of(layer))


def names_of(layer: Labels) -> dict[int, str]:
    """Read the names of the values of a layer."""
    return facts_of(layer).class_names


def given_names(layer: Labels) -> dict[int, str]:
    """Read those names that say more than “class 3”."""
    return classes_of(layer).given_names


def legend_of(layer: Labels, painted: set[int] | None = None) -> Legend:
    """List the classes of a layer; see :meth:`LayerClasses.legend`."""
    return classes_of(layer).legend(painted)


def given_legend(layer: Labels) -> Legend:
    """Read what training learns: colours of all values, and given names."""
    return classes_of(layer).given()


def kept_legend(layer: Labels, painted: Iterable[int]) -> Legend:
    """Read what a journal keeps; see :meth:`LayerClasses.kept`."""
    return classes_of(layer).kept(painted)


def zero_of(layer: Labels) -> ZeroMeaning:
    """Read what a 0 of a layer means in training."""
    return facts_of(layer).zero or "unlabelled"


# ---- changing it -----------------------------------------------------------------------------------------------------
def set_zero(layer: Labels, zero: ZeroMeaning) -> None:
    """Set what a 0 of a layer means, and its name."""
    if names := names_of(layer):
        set_legend(layer, Legend(names, painted_look(layer, names), zero))
    elif zero != zero_of(layer):
        note(layer, zero=zero)


def set_legend(layer: Labels, legend: Legend) -> None:
    """Give a layer names, colours and meaning of 0 of a legend.

    Colours of its other values stay.

    Only what differs is set, since every change is drawn. Features that another plugin made are left alone.
    """
    table = class_features(legend.names, ZERO[legend.zero])
    present = {str(column): list(layer.features[column]) for column in layer.features.columns}
    if present != table and set(present) <= set(table):
        layer.features = table
    if classes_of(layer).is_shown_otherwise(legend) or _clear(layer) != _clear_in(layer, legend):
        _set_colors(layer, legend)
    zero = {} if zero_of(layer) == legend.zero else {"zero": legend.zero}
    note(layer, class_names=dict(legend.names), **zero)  # last: this calls those who listen, and all is there


def restore(layer: Labels, classes: Classes) -> bool:
    """Name and colour classes as a model does; return whether that happened.

    Layers that were computed here, or whose values have names, stay as they are.
    """
    if is_made_here(layer) or given_names(layer):
        return False
    set_legend(layer, classes_of(layer).completed(classes, painted_values(layer.data)))
    return True


def follow_legend(layer: Labels, before: Legend, after: Legend) -> None:
    """Let a prediction go along when the legend of strokes changes.

    What it names or shows as `before` did becomes as in `after`.
    """
    if (legend := classes_of(layer).following(before, after)) is not None:
        set_legend(layer, legend)


class Naming:
    """Follows the classes of one layer at a time, and reports changes.

    `changed` is called when names, colours or the meaning of 0 changed.

    Nothing here holds on to the layer, nor the layer to those who listen.
    """

    def __init__(self, changed: Callable[[], object]) -> None:
        self.legend: Legend | None = None
        """What was said last; it stays when the layer is gone."""
        self._changed = changed
        self._listening: list[Callable[[], object]] = []

    def follow(self, layer: Labels) -> None:
        """Follow this layer, and no other."""
        self.stop()
        self.legend = given_legend(layer)
        self._listening += [
            connected(event, self._look) for event in (layer.events.metadata, layer.events.colormap)
        ]

    def stop(self) -> None:
        """Follow none."""
        call_all(self._listening)

    def _look(self, event: Any) -> None:
        if (legend := given_legend(event.source)) != self.legend:
            self.legend = legend
            self._changed()


def _set_colors(layer: Labels, legend: Legend) -> None:
    """Set colours for single values; what had another colour keeps it."""
    own = _own_colors(layer)
    other = layer.colormap.color_dict.get(None, OTHER) if own else OTHER
    new = {v: legend.color(v) for v in legend.values if v}
    colors = (own or painted_look(layer)) | new
    if facts_of(layer).is_prediction:
        colors = with_clear_background(colors, legend.names)
    layer.colormap = colormap(colors, other)


def _clear(layer: Labels) -> set[int]:
    """Find the values that one sees through."""
    if not isinstance(layer.colormap, DirectLabelColormap):
        return set()
    return {v for v, color in layer.colormap.color_dict.items() if v and color[3] == 0 and any(color[:3])}


def _clear_in(layer: Labels, legend: Legend) -> set[int]:
    """Find the values that one is to see through, of a prediction."""
    if not facts_of(layer).is_prediction:
        return set()
    colors = with_clear_background({v: legend.color(v) for v in legend.values if v}, legend.names)
    return {v for v, color in colors.items() if color[3] == 0}


def _own_colors(layer: Labels) -> dict[int, RGBA]:
    """Read colours set for single values; none of napari's own cycle."""
    if not isinstance(layer.colormap, DirectLabelColormap):
        return {}
    colors = {v: [float(x) for x in c] for v, c in layer.colormap.color_dict.items() if v}
    return {int(v): (c[0], c[1], c[2], 1.0 if any(c[:3]) else c[3]) for v, c in colors.items()}
