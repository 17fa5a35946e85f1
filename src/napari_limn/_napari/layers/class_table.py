"""Names and colours of classes on labels layers: they live with the layer, and the status bar shows them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from napari.layers import Labels
from napari.utils.colormaps import DirectLabelColormap

from napari_limn._napari.layers.layers import (
    CLASS_NAMES,
    MADE_BY,
    ZERO_MEANS,
    active_layer,
    class_table,
    colormap,
    is_painted,
    painted_look,
)
from napari_limn._napari.layers.listening import call_all, connected
from napari_limn.annotation.classes import MOST, default_color, default_name
from napari_limn.annotation.legend import Legend, names_from, painted_values

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from napari.components import ViewerModel

    from napari_limn.annotation.classes import Classes, ZeroMeaning
    from napari_limn.volume.volume import RGBA

ZERO = {"unlabelled": "not labelled", "background": "background"}
"""What a 0 is called."""

OTHER = (0.5, 0.5, 0.5, 1.0)
"""Colour of values beyond those with one of their own."""


def names_of(layer: Labels) -> dict[int, str]:
    """Names that the values of a layer were given; empty if nobody named them."""
    return names_from(layer.metadata.get(CLASS_NAMES))


def painted_layers(viewer: ViewerModel) -> list[Labels]:
    """Labels layers that a person paints on, the topmost first."""
    return [layer for layer in reversed(viewer.layers) if is_painted(layer)]


def given_names(layer: Labels) -> dict[int, str]:
    """Of these, those that say more than “class 3”."""
    return {value: name for value, name in names_of(layer).items() if name != default_name(value)}


def chosen_strokes(viewer: ViewerModel) -> Labels | None:
    """The labels layer that is painted on: the active one, else the topmost."""
    layers, active = painted_layers(viewer), viewer.layers.selection.active
    return next((layer for layer in layers if layer == active), layers[0] if layers else None)


def corrected_layer(viewer: ViewerModel) -> Labels | None:
    """The layer that the patch of an audit is corrected in, while it is the active one."""
    active = active_layer(viewer)
    corrected = active is not None and "audit" in active.metadata.get(MADE_BY, ())
    return active if corrected else None


def predicted_layers(viewer: ViewerModel) -> list[Labels]:
    """Labels layers that show a prediction, the topmost first."""
    return [
        x for x in reversed(viewer.layers) if type(x) is Labels and "model" in x.metadata.get(MADE_BY, ())
    ]


def legend_of(layer: Labels, painted: set[int] | None = None) -> Legend:
    """The classes of a layer: those with names, those with a colour that somebody chose, and the `painted` ones, if they are few."""
    names, own = names_of(layer), set(_chosen_colors(layer))
    values = set(names).union(*(some for some in (own, painted or set()) if len(some) <= MOST))
    return Legend.of(values, names, painted_look(layer, values), zero_of(layer))


def given_legend(layer: Labels) -> Legend:
    """What a person said of a layer's classes, for those who train on it: colours of all values, names where they gave some."""
    return Legend(given_names(layer), painted_look(layer), zero_of(layer))


def kept_legend(layer: Labels, painted: Iterable[int]) -> Legend:
    """What a journal keeps of the classes of a layer: the names that there are, and colours that a new layer would not have.

    `painted` are values whose colours count although nobody named them.
    """
    names, own = names_of(layer), set(_chosen_colors(layer))
    values = {*names, *painted} | (own if len(own) <= MOST else set())
    shown = {v: _rounded(c) for v, c in painted_look(layer, values).items()}
    return Legend(names, {v: c for v, c in shown.items() if not _is_default(v, c)}, zero_of(layer))


def zero_of(layer: Labels) -> ZeroMeaning:
    """What a 0 of a layer means in training."""
    return "background" if layer.metadata.get(ZERO_MEANS) == "background" else "unlabelled"


def set_zero(layer: Labels, zero: ZeroMeaning) -> None:
    """Say what a 0 of a layer means: in its metadata, and under the mouse where its values have names."""
    if names := names_of(layer):
        set_legend(layer, Legend(names, painted_look(layer, names), zero))
    elif zero != zero_of(layer):
        layer.metadata = {**layer.metadata, ZERO_MEANS: zero}


def set_legend(layer: Labels, legend: Legend) -> None:
    """Give a layer the names and colours of a legend, and its meaning of 0; colours of its other values stay.

    Only what differs is set, since every change is drawn. Features that somebody else made are left alone.
    """
    table = class_table(legend.names, ZERO[legend.zero])
    found = {str(column): list(layer.features[column]) for column in layer.features.columns}
    if found != table and set(found) <= set(table):
        layer.features = table
    shown, own = painted_look(layer, legend.values), _own_colors(layer)
    changed = any(not np.allclose(color, legend.color(v), atol=1e-3) for v, color in shown.items())
    if changed or (own and not set(shown) <= set(own)):
        _set_colors(layer, legend)
    said: dict[str, object] = {CLASS_NAMES: dict(legend.names)} if names_of(layer) != legend.names else {}
    said |= {ZERO_MEANS: legend.zero} if zero_of(layer) != legend.zero else {}
    if said:  # last, since this tells those who listen that all is there
        layer.metadata = {**layer.metadata, **said}


def restore(layer: Labels, classes: Classes) -> bool:
    """Give a layer the names and colours of a model's classes, if nobody named its values; tells whether it did."""
    if MADE_BY in layer.metadata or given_names(layer):
        return False
    legend = legend_of(layer, painted_values(layer.data))
    chosen = {v: legend.color(v) for v in _chosen_colors(layer) if v in legend.values}
    legend = Legend(legend.names, {**legend.colors, **classes.color_of, **chosen}, classes.zero)
    set_legend(layer, legend.completed(classes.name_of, classes.color_of))
    return True


def follow_legend(layer: Labels, before: Legend, after: Legend) -> None:
    """Let a prediction that calls a class, and shows it, as `before` did do so as `after` does."""
    names = names_of(layer)
    legend = Legend.of(names, names, painted_look(layer, names))
    common = set(legend.values) & set(before.values) & set(after.values)
    same = {v for v in common if legend.names[v] == before.names[v]}
    alike = {v for v in common if np.allclose(legend.color(v), before.color(v), atol=1e-2)}
    new = Legend(
        legend.names | {v: after.names[v] for v in same}, legend.colors | {v: after.color(v) for v in alike}
    )
    if new != legend:
        zero = {0: names[0]} if 0 in names else {}
        set_legend(layer, Legend(zero | new.names, new.colors))


class Naming:
    """Follows what a person says of the classes of one layer at a time; `changed` is called when that is another.

    Nothing here holds on to the layer, nor it to who listens.
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
            connected(tells, self._look) for tells in (layer.events.metadata, layer.events.colormap)
        ]

    def stop(self) -> None:
        """Follow none."""
        call_all(self._listening)

    def _look(self, event: Any) -> None:
        if (legend := given_legend(event.source)) != self.legend:
            self.legend = legend
            self._changed()


def _set_colors(layer: Labels, legend: Legend) -> None:
    """Colours for single values; what had another colour keeps it."""
    own = _own_colors(layer)
    other = layer.colormap.color_dict.get(None, OTHER) if own else OTHER
    new = {v: legend.color(v) for v in legend.values if v}
    layer.colormap = colormap((own or painted_look(layer)) | new, other)


def _own_colors(layer: Labels) -> dict[int, RGBA]:
    """Colours that were set for single values; none where napari's cycle of colours is shown."""
    if not isinstance(layer.colormap, DirectLabelColormap):
        return {}
    found = {v: [float(x) for x in c] for v, c in layer.colormap.color_dict.items() if v}
    return {int(v): (c[0], c[1], c[2], c[3]) for v, c in found.items()}


def _chosen_colors(layer: Labels) -> dict[int, RGBA]:
    """Of these, those that are not what a value looks like where nobody chose."""
    return {v: c for v, c in _own_colors(layer).items() if not _is_default(v, c)}


def _is_default(value: int, color: RGBA) -> bool:
    return np.allclose(color, default_color(value), atol=1e-3)


def _rounded(color: RGBA) -> RGBA:
    """As a text keeps it; napari's own are float32."""
    red, green, blue, alpha = (round(c, 4) for c in color)
    return red, green, blue, alpha
