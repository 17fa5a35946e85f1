"""Paint values and class indices: what they mean is decided here."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_limn.errors import LimnError
from napari_limn.specs import ZeroMeaning as ZeroMeaning
from napari_limn.specs import check_fields
from napari_limn.volume.volume import RGBA  # noqa: TC001 - from_json evaluates annotations

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from numpy.typing import NDArray


IGNORE = -1
"""Class index of a voxel without a label: it takes no part in training or scoring."""

MOST = 32
"""Classes that a user paints, at most; labels with more values number objects."""


# As people see them who see all colours, and for whom red and green look alike: first those of Okabe and Ito (2008) but black, which is
# lost on dark images; then, one by one, the colour that is farthest from all before it and from every grey of an image
_PALETTE = (
    "E69F00", "56B4E9", "009E73", "F0E442", "0072B2", "D55E00", "CC79A7", "881100",
    "BBFFDD", "CCEEFF", "334466", "3311CC", "66CC88", "3388FF", "995544", "CCFFAA",
    "BB3300", "774444", "996688", "449944", "7700FF", "99BBCC", "CC11AA", "66BB99",
    "FF5555", "44DDFF", "664455", "AADD77", "991188", "4499CC", "CC7777", "FFCCBB",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Classes:
    """The classes of a model, in the order of its output channels.

    Parameters
    ----------
    values
        Paint value of each class, ascending and different.
    zero
        What a 0 means: ``"unlabelled"`` or ``"background"`` (a class of its own, for full masks).
    names
        Name of each class; ``"class 3"`` for value 3 where not given.
    colors
        RGBA, 0–1, of each class; a fixed palette where not given.

    Examples
    --------
    >>> classes = Classes((1, 2))
    >>> classes.to_indices(np.array([0, 1, 2])).tolist()
    [-1, 0, 1]
    >>> classes.to_values(np.array([1, 0])).tolist()
    [2, 1]
    """

    values: tuple[int, ...]
    zero: ZeroMeaning = "unlabelled"
    names: tuple[str, ...] = ()
    colors: tuple[RGBA, ...] = ()

    def __post_init__(self) -> None:
        check_fields(self)
        _check_values(self.values, self.zero)
        if not self.names:
            object.__setattr__(self, "names", tuple(default_name(v) for v in self.values))
        if not self.colors:
            object.__setattr__(self, "colors", tuple(default_color(v) for v in self.values))
        if not len(self.values) == len(self.names) == len(self.colors):
            raise LimnError(
                f"found {len(self.values)} classes with {len(self.names)} names and {len(self.colors)} colours, "
                "expected as many of each."
            )

    @property
    def count(self) -> int:
        """Return the number of classes."""
        return len(self.values)

    @property
    def dtype(self) -> np.dtype[Any]:
        """Return the smallest unsigned type that holds every value."""
        return np.dtype(np.min_scalar_type(max(self.values)))

    @property
    def color_of(self) -> dict[int, RGBA]:
        """Return the colour of each value."""
        return dict(zip(self.values, self.colors, strict=True))

    @property
    def name_of(self) -> dict[int, str]:
        """Return the name of each value."""
        return dict(zip(self.values, self.names, strict=True))

    def to_indices(self, labels: NDArray[Any]) -> NDArray[np.int16]:
        """Turn paint values into class indices.

        Anything that is no class of these becomes :data:`IGNORE`.
        """
        values = np.asarray(self.values)
        if labels.dtype == np.uint8:  # a table of all takes a quarter of the time, or less
            known = np.full(1 + np.iinfo(np.uint8).max, IGNORE, np.int16)
            fits = values < len(known)
            known[values[fits]] = np.flatnonzero(fits)
            return known.take(labels)
        place = np.searchsorted(values, labels).clip(max=len(values) - 1)
        return np.where(values[place] == labels, place, IGNORE).astype(np.int16)

    def to_values(self, indices: NDArray[Any]) -> NDArray[Any]:
        """Turn class indices (0 … count − 1) into paint values.

        Of type :attr:`dtype`.
        """
        painted: NDArray[Any] = np.asarray(self.values, self.dtype)[indices]
        return painted

    def with_legend(self, names: Mapping[int, str], colors: Mapping[int, RGBA]) -> Classes:
        """Return these classes with other names and colours.

        Where there are some.
        """
        called, looks = self.name_of | dict(names), self.color_of | dict(colors)
        return replace(
            self, names=tuple(called[v] for v in self.values), colors=tuple(looks[v] for v in self.values)
        )

    def merged(self, other: Classes) -> Classes:
        """Add the classes of `other` that are new.

        Names and colours of `other` win where both have them.

        Raises
        ------
        LimnError
            If a 0 means different things in the two.
        """
        if self.zero != other.zero:
            raise LimnError(
                f"the model was trained with 0 as {self.zero}, the labels say 0 is {other.zero}; "
                "choose the same meaning, or train a new model."
            )
        names, colors = self.name_of | other.name_of, self.color_of | other.color_of
        values = tuple(sorted(names))
        return Classes(values, self.zero, tuple(names[v] for v in values), tuple(colors[v] for v in values))


def find_classes(
    values: Iterable[int],
    zero: ZeroMeaning = "unlabelled",
    colors: Mapping[int, RGBA] | None = None,
    names: Mapping[int, str] | None = None,
    known: Classes | None = None,
) -> Classes:
    """Make classes of the values found in a label volume.

    Parameters
    ----------
    values, zero
        What was found, and what a 0 means.
    colors, names
        What the user calls the values, as far as known.
    known
        Classes that stay, with new ones beside them.

    Raises
    ------
    LimnError
        With fewer than two classes, naming both ways out; with more than there ever are; and for negative values. If nothing was found
        to add to what is known, or a 0 means something else there.
    """
    palette, called = colors or {}, names or {}
    if known is not None:
        if not set(values) - {0}:
            raise LimnError(
                "found no painted voxel, expected some strokes to learn from; paint corrections first."
            )
        palette, called = known.color_of | dict(palette), known.name_of | dict(called)
        return known.merged(find_classes({*values, *known.values}, zero, palette, called))
    painted = sorted({int(v) for v in values} | ({0} if zero == "background" else set()))
    if zero == "unlabelled":
        painted = [v for v in painted if v != 0]
    if number_objects(painted):
        raise LimnError(
            f"found {len(painted)} values in the labels, expected {MOST} classes at most; where every object has a number of its own, say that "
            "they are objects."
        )
    return Classes(
        tuple(painted),
        zero,
        tuple(called.get(v, default_name(v)) for v in painted),
        tuple(palette.get(v, default_color(v)) for v in painted),
    )


def number_objects(values: Iterable[int]) -> bool:
    """Return whether values number objects: too many to be classes.

    The value 0 does not count.
    """
    return len(set(values) - {0}) > MOST


def default_name(value: int) -> str:
    """Name a class that has no name yet."""
    return f"class {value}" if value else "background"


def default_color(value: int) -> RGBA:
    """Choose a colour for a paint value; background is grey.

    Beyond the palette, hues lie a golden angle apart, so that neighbours differ.
    """
    if value == 0:
        return (0.4, 0.4, 0.4, 1.0)
    if value <= len(_PALETTE):
        red, green, blue = (part / 255 for part in bytes.fromhex(_PALETTE[value - 1]))
        return (red, green, blue, 1.0)
    hue = (value * 0.6180339887 + 0.4) % 1 * 6
    rising, falling = hue % 1, 1 - hue % 1
    red, green, blue = [
        (1.0, rising, 0.0), (falling, 1.0, 0.0), (0.0, 1.0, rising),
        (0.0, falling, 1.0), (rising, 0.0, 1.0), (1.0, 0.0, falling),
    ][int(hue)]  # fmt: skip
    return (0.15 + 0.85 * red, 0.15 + 0.85 * green, 0.15 + 0.85 * blue, 1.0)


def refuse_negative(values: NDArray[Any]) -> None:
    """Raise a LimnError for negative labels."""
    if values.size and (least := int(values.min())) < 0:
        raise LimnError(f"found the negative label {least}, expected labels of 0 and above; renumber them.")


def _check_values(values: tuple[int, ...], zero: ZeroMeaning) -> None:
    refuse_negative(np.asarray(values))
    if not values and zero == "unlabelled":
        raise LimnError(
            "found no painted voxel, expected strokes of at least two classes; paint some, background too."
        )
    if len(values) < 2 and zero == "background":
        raise LimnError(
            "found only background (0), expected at least one painted class; paint what you look for."
        )
    if len(values) < 2:
        raise LimnError(
            f"found only one painted value ({values[0]}), expected at least two classes: paint background as a class "
            "of its own, or say that 0 is background."
        )
    if list(values) != sorted(set(values)):
        raise LimnError(f"found class values {values}, expected them ascending and different.")
