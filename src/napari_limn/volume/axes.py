"""Axes of a volume: names, order, voxel size, units, origin.

They are decided here, once.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from napari_limn.arguments import checked
from napari_limn.errors import LimnError
from napari_limn.specs import check_fields

if TYPE_CHECKING:
    from collections.abc import Mapping

NAMES = "TCZYX"
"""Time, channel, and the three axes of space, in the order that OME-NGFF prescribes."""

GRID = "TZYX"
"""The grid that every box, block and patch lives on; an axis that a volume does not have counts 1 there."""

_UNITS = {
    "µm": "micrometer",
    "μm": "micrometer",
    "um": "micrometer",
    "micron": "micrometer",
    "microns": "micrometer",
    "nm": "nanometer",
    "mm": "millimeter",
    "cm": "centimeter",
    "m": "meter",
    "å": "angstrom",
    "in": "inch",
    "inches": "inch",
    "pixels": "pixel",
    "": "pixel",
    "s": "second",
    "sec": "second",
    "ms": "millisecond",
    "min": "minute",
    "h": "hour",
}

CENTIMETRES = {
    "picometer": 1e-10,
    "angstrom": 1e-8,
    "nanometer": 1e-7,
    "micrometer": 1e-4,
    "millimeter": 0.1,
    "centimeter": 1.0,
    "decimeter": 10.0,
    "meter": 100.0,
    "kilometer": 1e5,
    "inch": 2.54,
}
"""Units of length."""

_SIZES = (1e-11, 1e7)
"""Least and greatest size of a voxel, in centimetres, seconds or pixels: from a thousandth of an atom to what a satellite sees."""

_KNOWN = {*_UNITS.values(), *CENTIMETRES, "day", "microsecond", "nanosecond", "picosecond"}


@dataclass(frozen=True, slots=True)
class Axes:
    """The axes of an array, in its own order.

    Parameters
    ----------
    names
        One letter of ``TCZYX`` an axis; Y and X are always there.
    scale
        Size of a voxel along each axis, in `units`; positive.
    units
        ``"micrometer"``, ``"second"``, …, or ``"pixel"`` where the size is not known.
    translate
        World position of the centre of the first voxel, in `units`.

    Examples
    --------
    >>> Axes.of("ZYX", scale=(0.5, 0.1, 0.1)).spacing
    (0.5, 0.1, 0.1)
    """

    names: str
    scale: tuple[float, ...]
    units: tuple[str, ...]
    translate: tuple[float, ...]

    def __post_init__(self) -> None:
        check_fields(self)
        check_names(self.names)
        for what in (self.scale, self.units, self.translate):
            if len(what) != len(self.names):
                raise LimnError(
                    f"found {len(what)} values for axes {self.names}, expected {len(self.names)}."
                )
        if bad := [s for s in self.scale if not 0 < s < float("inf")]:
            raise LimnError(f"found voxel size {bad[0]} on axes {self.names}, expected positive numbers.")

    @classmethod
    @checked
    def of(
        cls,
        names: str,
        scale: tuple[float, ...] | None = None,
        units: tuple[str, ...] | None = None,
        translate: tuple[float, ...] | None = None,
    ) -> Axes:
        """Fill in what is not given.

        Voxels of 1 pixel at the origin.
        """
        n = len(names)
        return cls(names, scale or (1.0,) * n, units or ("pixel",) * n, translate or (0.0,) * n)

    @property
    def spacing(self) -> tuple[float, float, float]:
        """Return the voxel size along Z, Y and X.

        In the unit of X, if lengths are given in several; 1 where there is no Z.

        Voxels are as deep as wide along an axis without a size, see :meth:`lacks_size`.
        """
        z, y, x = (self._size(a) if a in self.names else 1.0 for a in "ZYX")
        return z, y, x

    def _size(self, name: str) -> float:
        own, unit = self.units[self.names.index(name)], self.units[self.names.index("X")]
        size = self.scale[self.names.index(name)]
        if self.lacks_size(name):
            return self.scale[self.names.index("X")]
        if own == unit or own not in CENTIMETRES or unit not in CENTIMETRES:
            return size
        return size * CENTIMETRES[own] / CENTIMETRES[unit]

    def lacks_size(self, name: str) -> bool:
        """Return whether the axis `name` has no size, while X has one.

        Such an axis is there, and its voxels are 1 pixel.

        Examples
        --------
        >>> Axes.of("ZYX", (1.0, 0.1, 0.1), ("pixel", "micrometer", "micrometer")).lacks_size("Z")
        True
        """
        given = dict(zip(self.names, zip(self.scale, self.units, strict=True), strict=True))
        return given.get(name) == (1.0, "pixel") and given["X"][1] in CENTIMETRES

    def without(self, name: str) -> Axes:
        """Return the same axes without `name`; unchanged if it is not there."""
        keep = [i for i, a in enumerate(self.names) if a != name]
        return Axes(
            "".join(self.names[i] for i in keep),
            tuple(self.scale[i] for i in keep),
            tuple(self.units[i] for i in keep),
            tuple(self.translate[i] for i in keep),
        )


def check_names(names: str) -> str:
    """Return `names` if they name axes.

    Those are letters of TCZYX, each once, Y and X among them.

    Raises
    ------
    LimnError
        Otherwise.
    """
    if set(names) - set(NAMES) or len(set(names)) != len(names) or not {"Y", "X"} <= set(names):
        raise LimnError(
            f"found axes {names!r}, expected letters of {NAMES}, each at most once, with Y and X among them, "
            "one for each dimension in the order of the file (for example ZYX)."
        )
    return names


def default_names(shape: tuple[int, ...]) -> str:
    """Guess names for an array that says nothing.

    YX, ZYX or TZYX; a last axis of 3 or 4 samples is colour.

    Examples
    --------
    >>> default_names((30, 512, 512)), default_names((512, 512, 3))
    ('ZYX', 'YXC')
    """
    color = len(shape) >= 3 and shape[-1] in (3, 4) and min(shape[-3:-1]) > 4
    spatial = len(shape) - color
    if spatial not in (2, 3, 4):
        fix = (
            "name its axes"
            if 2 <= len(shape) <= len(NAMES)
            else "choose or save a part of it that is an image"
        )
        raise LimnError(f"found an array of shape {shape}, expected 2 to 4 dimensions besides colour; {fix}.")
    return GRID[-spatial:] + ("C" if color else "")


def resolve_names(declared: str, shape: tuple[int, ...], asked: str | None = None) -> str:
    """Choose the names of a file's axes.

    What the user asked for, else what the file declares, else the defaults.

    Parameters
    ----------
    declared
        Letters as tifffile writes them; S (samples) counts as channel, unknown letters (I, Q, …) take the free
        names of T and Z, the last one Z.
    asked
        The user's own word, for example from ``--axes``.
    """
    if asked is not None:
        names = check_names(asked.upper())
        if len(names) != len(shape):
            raise LimnError(f"found shape {shape} but axes {names}; name {len(shape)} axes.")
        return names
    names = declared.upper().replace("S", "C") if len(declared) == len(shape) else "?" * len(shape)
    if not {"Y", "X"} <= set(names):
        return default_names(shape)
    if names.count("C") > 1:
        raise LimnError(
            f"found axes {declared} of shape {shape}, both channels and colour; expected one of them: "
            "save the image without colour, or each channel by itself."
        )
    unknown = [i for i, a in enumerate(names) if a not in NAMES]
    free = [a for a in "ZT" if a not in names]
    if len(unknown) > len(free) and "C" not in names:
        # an axis of one needs no name of its own
        free += ["C"] if any(shape[i] == 1 for i in unknown) else []
        unknown.sort(key=lambda i: (shape[i] > 1, i))
    if len(unknown) > len(free):
        fix = (
            "say what they are, for example with --axes TCZYX"
            if len(shape) <= len(NAMES)
            else "save a part of the image"
        )
        raise LimnError(
            f"found axes {declared} of shape {shape}, expected no more than time, channel, Z, Y and X; {fix}."
        )
    letters = list(names)
    for place, name in zip(reversed(unknown), free, strict=False):
        letters[place] = name
    return check_names("".join(letters))


def odd_names(name: str, declared: str, names: str) -> tuple[str, ...]:
    """Say that a file names its axes and they are not understood.

    Examples
    --------
    >>> odd_names("a.zarr", "zzz", "ZYX")
    ("a.zarr: found axes with the letters 'ZZZ', expected Y and X among them; taken as ZYX.",)
    >>> odd_names("a.zarr", "???", "ZYX"), odd_names("a.zarr", "qyx", "ZYX")
    ((), ())
    """
    written = declared.upper()
    if not written.strip("?") or {"Y", "X"} <= set(written):
        return ()
    return (
        f"{name}: found axes with the letters {written!r}, expected Y and X among them; taken as {names}.",
    )


def known_size(size: float, unit: str) -> float | None:
    """Return the size of a voxel; None where no image has it.

    Mirrored axes have negative sizes in some files; what counts is how large a voxel is.

    Examples
    --------
    >>> known_size(-0.1, "micrometer"), known_size(0.0, "pixel"), known_size(1e300, "micrometer")
    (0.1, None, None)
    """
    least, most = _SIZES
    return abs(size) if least <= abs(size) * CENTIMETRES.get(unit, 1.0) <= most else None


def known_sizes(
    name: str, given: Mapping[str, tuple[float, str | None]]
) -> tuple[dict[str, tuple[float, str]], tuple[str, ...]]:
    """Return the voxel sizes of a file that count.

    With sentences on the others.

    Parameters
    ----------
    name
        Of the file.
    given
        Size and unit of each axis, the unit as the file writes it.

    Examples
    --------
    >>> known_sizes("a.tif", {"Y": (0.5, "um"), "X": (0.5, "furlong")})
    ({'Y': (0.5, 'micrometer')}, ("a.tif: found the unit 'furlong', which is not known; its voxel size along X is taken as not known.",))
    """
    good: dict[str, tuple[float, str]] = {}
    absurd, foreign = dict[str, str](), dict[str, list[str]]()
    for axis, (size, written) in given.items():
        if (unit := known_unit(written)) is None:
            foreign.setdefault(str(written), []).append(axis)
        elif (known := known_size(size, unit)) is None:
            absurd[axis] = f"{size:g} {unit}"
        else:
            good[axis] = known, unit
    notes = [
        f"{name}: found the unit {written[:40]!r}, which is not known; its voxel size along {', '.join(axes)} is taken as not known."
        for written, axes in foreign.items()
    ]
    if absurd:
        sizes = ", ".join(f"{size} along {axis}" for axis, size in absurd.items())
        notes.append(f"{name}: found a voxel size of {sizes}, which no image has; taken as not known.")
    return good, tuple(notes)


def unit_name(text: str | None) -> str:
    """Return the full English unit for what files call it.

    As OME-NGFF writes it; ``"pixel"`` when unknown.

    Examples
    --------
    >>> unit_name("µm"), unit_name("furlong"), unit_name(None)
    ('micrometer', 'pixel', 'pixel')
    """
    return known_unit(text) or "pixel"


def known_unit(text: str | None) -> str | None:
    """Return the unit as :func:`unit_name`, or None for one not known.

    Only a unit that has a name can be unknown: its numbers say nothing.

    Examples
    --------
    >>> known_unit("in"), known_unit("furlong"), known_unit(None)
    ('inch', None, 'pixel')
    """
    plain = _plain_text(text or "").strip().lower()
    name = _UNITS.get(plain, plain)
    return name if name in _KNOWN else None


def _plain_text(text: str) -> str:
    r"""Decode letters that ImageJ writes as ``\u00B5``."""
    return re.sub(r"\\u([0-9a-fA-F]{4})", lambda code: chr(int(code[1], 16)), text)
