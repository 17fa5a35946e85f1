"""A legend of paint values: names and colours to edit."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_limn.annotation.classes import default_color, default_name
from napari_limn.errors import LimnError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from numpy.typing import NDArray

    from napari_limn.annotation.classes import ZeroMeaning
    from napari_limn.volume.volume import RGBA

_SCANNED = 4 << 20  # voxels that are looked through while the window waits
_PIECE = 1 << 16  # at a time; most pieces of strokes are empty
_COUNTED = 4096  # values up to here are counted, which is faster than sorting


@dataclass(frozen=True, slots=True)
class Legend:
    """The table of classes.

    Names and colours of paint values, and what a 0 means, which has neither.

    Parameters
    ----------
    names
        Name of each value, 1 or above; these are the values that the legend lists.
    colors
        RGBA, 0–1, of values; a fixed palette where not given.
    zero
        What a 0 means in training.

    Examples
    --------
    >>> legend, value = Legend({1: "background"}).added()
    >>> legend.renamed(value, "axon").names
    {1: 'background', 2: 'axon'}
    """

    names: dict[int, str] = field(default_factory=dict)
    colors: dict[int, RGBA] = field(default_factory=dict)
    zero: ZeroMeaning = "unlabelled"

    @classmethod
    def of(
        cls,
        values: Iterable[int],
        names: Mapping[int, str],
        colors: Mapping[int, RGBA],
        zero: ZeroMeaning = "unlabelled",
    ) -> Legend:
        """Make the legend for `values`, with known names and colours."""
        listed = sorted({int(v) for v in values} - {0})
        return cls(
            {v: names.get(v, default_name(v)) for v in listed},
            {v: colors.get(v, default_color(v)) for v in listed},
            zero,
        )

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> Legend:
        """Read what :meth:`to_json` gave.

        KeyError, TypeError or ValueError for anything else.
        """
        zero: ZeroMeaning = "background" if content["zero"] == "background" else "unlabelled"
        colors = {int(v): tuple(float(c) for c in color) for v, color in content["colors"].items()}
        if any(len(color) != len("RGBA") for color in colors.values()):
            raise ValueError("a colour has four parts")
        return cls(
            {int(v): str(n) for v, n in content["names"].items()},
            {v: (c[0], c[1], c[2], c[3]) for v, c in colors.items()},
            zero,
        )

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON, whose keys are text."""
        return {
            "zero": self.zero,
            "names": {str(v): name for v, name in self.names.items()},
            "colors": {str(v): list(color) for v, color in self.colors.items()},
        }

    @property
    def values(self) -> tuple[int, ...]:
        """Return the paint values, ascending."""
        return tuple(sorted(self.names))

    def color(self, value: int) -> RGBA:
        """Return the colour of a value."""
        return self.colors.get(value, default_color(value))

    def added(self) -> tuple[Legend, int]:
        """Add a class; returns the legend and the new value.

        That is the lowest that is free.
        """
        value = next(v for v in range(1, len(self.names) + 2) if v not in self.names)
        return self.with_value(value), value

    def with_value(self, value: int) -> Legend:
        """List a value that may not have been listed until now."""
        if value == 0 or value in self.names:
            return self
        return Legend.of({*self.names, value}, self.names, self.colors, self.zero)

    def renamed(self, value: int, name: str) -> Legend:
        """Give a value another name.

        Raises
        ------
        LimnError
            For an empty name, or one that another class has.
        """
        name = " ".join(name.split())
        self._refuse_unlisted(value)
        if not name:
            raise LimnError(f"found an empty name for class {value}, expected a word; type one.")
        if taken := [v for v, other in self.names.items() if other == name and v != value]:
            raise LimnError(f"class {taken[0]} is called “{name}” already; choose another name.")
        return replace(self, names={**self.names, value: name})

    def recoloured(self, value: int, color: RGBA) -> Legend:
        """Give a value another colour (RGBA, 0–1)."""
        self._refuse_unlisted(value)
        return replace(self, colors={**self.colors, value: color})

    def completed(self, names: Mapping[int, str], colors: Mapping[int, RGBA]) -> Legend:
        """Add the classes of a model that the legend lacks.

        And its names where this one has none of its own.
        """
        own = {v: n for v, n in self.names.items() if n != default_name(v)}
        called = {**self.names, **{v: n for v, n in names.items() if v != 0}, **own}
        return Legend.of(called, called, {**colors, **self.colors}, self.zero)

    def _refuse_unlisted(self, value: int) -> None:
        if value not in self.names:
            raise LimnError(
                f"found {value}, expected one of the classes {', '.join(map(str, self.values))}; add it first."
            )


def names_from(content: Any) -> dict[int, str]:
    """Read names by value from a layer's metadata or a file.

    What is no such thing is left out.
    """
    if not isinstance(content, dict):
        return {}
    pairs = [(str(value), name) for value, name in content.items()]
    return {int(value): name for value, name in pairs if value.isdecimal() and isinstance(name, str) and name}


def painted_values(data: Any) -> set[int] | None:
    """Return the values other than 0 in an array.

    None where it is not in memory, or too large to look through at once.

    Examples
    --------
    >>> painted_values(np.array([[0, 3], [1, 3]], np.uint8))
    {1, 3}
    """
    if not isinstance(data, np.ndarray) or data.dtype.kind not in "ui" or data.size > _SCANNED:
        return None
    flat, values = data.reshape(-1), set[int]()
    for start in range(0, flat.size, _PIECE):
        piece = flat[start : start + _PIECE]
        if piece.any():
            values |= _values_of(piece)
    return values - {0}


def _values_of(piece: NDArray[Any]) -> set[int]:
    if piece.min() >= 0 and piece.max() < _COUNTED:
        return set(np.flatnonzero(np.bincount(piece.astype(np.intp))).tolist())
    return set(np.unique(piece).tolist())
