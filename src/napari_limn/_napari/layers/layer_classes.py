"""What a layer says of its classes, and which legend follows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from napari_limn.annotation.classes import MOST, default_color, default_name
from napari_limn.annotation.legend import Legend

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from napari_limn.annotation.classes import Classes, ZeroMeaning
    from napari_limn.volume.volume import RGBA

ZERO = {"unlabelled": "not labelled", "background": "background"}
"""What a 0 is called."""

BACKGROUND = "background"
"""The class that a prediction lets through to the image."""


@dataclass(frozen=True, slots=True)
class LayerClasses:
    """What a layer says of its classes.

    Parameters
    ----------
    names
        Names of its values; empty if they were given none.
    own
        Colours that were set for single values.
    look
        Gives the colours in which values are shown; with None those of all that may have been painted.
    zero
        What a 0 means in training.
    """

    names: dict[int, str]
    own: dict[int, RGBA]
    look: Callable[[Iterable[int] | None], dict[int, RGBA]]
    zero: ZeroMeaning = "unlabelled"

    @property
    def given_names(self) -> dict[int, str]:
        """Give the names that say more than “class 3”."""
        return {value: name for value, name in self.names.items() if name != default_name(value)}

    @property
    def chosen_colors(self) -> dict[int, RGBA]:
        """Give the colours that differ from the default ones."""
        return {value: color for value, color in self.own.items() if not _is_default(value, color)}

    def legend(self, painted: set[int] | None = None) -> Legend:
        """List classes with names, chosen colours, or paint if few are."""
        few = (some for some in (set(self.chosen_colors), painted or set()) if len(some) <= MOST)
        values = set(self.names).union(*few)
        return Legend.of(values, self.names, self.look(values), self.zero)

    def given(self) -> Legend:
        """Give what training learns: colours of all values, and given names."""
        return Legend(self.given_names, self.look(None), self.zero)

    def kept(self, painted: Iterable[int]) -> Legend:
        """Give what a journal keeps: names, and colours other than default.

        `painted` are values whose colours count although they have no name.
        """
        chosen = set(self.chosen_colors)
        values = {*self.names, *painted} | (chosen if len(chosen) <= MOST else set())
        shown = {value: _rounded(color) for value, color in self.look(values).items()}
        own = {value: color for value, color in shown.items() if not _is_default(value, color)}
        return Legend(self.names, own, self.zero)

    def completed(self, classes: Classes, painted: set[int] | None) -> Legend:
        """Give the legend with a model's classes added; chosen colours stay."""
        legend = self.legend(painted)
        chosen = {v: legend.color(v) for v in self.chosen_colors if v in legend.values}
        legend = Legend(legend.names, {**legend.colors, **classes.color_of, **chosen}, classes.zero)
        return legend.completed(classes.name_of, classes.color_of)

    def following(self, before: Legend, after: Legend) -> Legend | None:
        """Give the legend of a prediction after a change; None if unchanged.

        It goes along where it calls, or shows, a class as `before` did.
        """
        legend = Legend.of(self.names, self.names, self.look(self.names))
        common = set(legend.values) & set(before.values) & set(after.values)
        names = {v: after.names[v] for v in common if legend.names[v] == before.names[v]}
        colors = {v: after.color(v) for v in common if _alike(legend.color(v), before.color(v), 1e-2)}
        new = Legend(legend.names | names, legend.colors | colors)
        zero = {0: self.names[0]} if 0 in self.names else {}
        return Legend(zero | new.names, new.colors) if new != legend else None

    def is_shown_otherwise(self, legend: Legend) -> bool:
        """Return whether the layer shows other colours than a legend."""
        shown = self.look(legend.values)
        changed = any(not _alike(color, legend.color(value)) for value, color in shown.items())
        return changed or bool(self.own and not set(shown) <= set(self.own))


def with_clear_background(colors: Mapping[int, RGBA], names: Mapping[int, str]) -> dict[int, RGBA]:
    """Let one see through what is called background in a prediction.

    It keeps its colour, and is not opaque.
    """
    clear = {value for value in colors if names.get(value, "").casefold() == BACKGROUND}
    return {value: (*color[:3], 0.0) if value in clear else color for value, color in colors.items()}


def opaque(colors: Mapping[int | None, RGBA]) -> dict[int, RGBA]:
    """Give the colours of values, each of which is seen."""
    return {v: (*(float(c) for c in color[:3]), 1.0) for v, color in colors.items() if v and any(color[:3])}  # type: ignore[misc]


def _is_default(value: int, color: RGBA) -> bool:
    return _alike(color, default_color(value))


def _alike(one: RGBA, other: RGBA, tolerance: float = 1e-3) -> bool:
    return np.allclose(one, other, atol=tolerance)


def _rounded(color: RGBA) -> RGBA:
    """Round a colour as a text keeps it; napari's own are float32."""
    red, green, blue, alpha = (round(c, 4) for c in color)
    return red, green, blue, alpha
