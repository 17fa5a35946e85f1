"""TIFF, ImageJ TIFF and OME-TIFF as lazy volumes."""

from __future__ import annotations

import json
import logging
import re
from contextlib import ExitStack, contextmanager
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING
from xml.etree import ElementTree as ET

import numpy as np
import tifffile
import zarr

from napari_limn.errors import LimnError
from napari_limn.volume.axes import Axes, known_sizes, known_unit, odd_names, resolve_names
from napari_limn.volume.decoding.pictures import bound_pictures, holds_jpegs
from napari_limn.volume.foreign import foreign, no_codec, reason, refuse_large_piece
from napari_limn.volume.reading.choice import ImageEntry, chosen
from napari_limn.volume.reading.contents import contents_of
from napari_limn.volume.reading.mapped import MappedArray
from napari_limn.volume.volume import ArrayLike, Volume, size_in_bytes

if TYPE_CHECKING:
    from collections.abc import Iterator

    from napari_limn.volume.volume import RGBA

MARK = "napari-limn labels"
"""Key in the description of a label TIFF written here; holds the colours of the label values."""

NAMES = "napari-limn classes"
"""Key beside it; holds the names of the label values."""

ORIGIN = "napari-limn origin"
"""Key beside it; holds the place of the first voxel along each axis that is not at 0, in the unit of the axis."""


_HEADERS = 1 << 20  # bytes that a compression adds to a tile, at most: tables, profiles
_IMAGEJ_UNITS = {"X": "unit", "Y": "yunit", "Z": "zunit"}
_NOT_THERE = re.compile(r"failed to read '([^']+)', raised FileNotFoundError")  # as tifffile logs it
_FEWER = re.compile(r"missing (\d+) frames")


def open_tiff(path: Path, axes: str | None = None, image: int | str | None = None) -> Volume:
    """Open a series of a TIFF lazily.

    `image` chooses it where there are several.

    Uncompressed contiguous data are mapped, anything else is read through tifffile's chunked store; coarser levels of
    a pyramid become :attr:`Volume.levels`. Voxel size and units come from OME-XML, ImageJ metadata or the resolution
    tags in centimetres.

    Raises
    ------
    LimnError
        If the file is no TIFF, is cut off, names files outside its folder, belongs to a set with files missing, or holds several
        images of which none was chosen.
    """
    with _reported(path), ExitStack() as closing:
        tif = closing.enter_context(_opened(path))
        entries = _entries(tif, path)
        at = entries.index(chosen(entries, image, path))
        series = tif.series[at]
        levels = [_array(tif, series, level, path, number) for number, level in enumerate(series.levels)]
        shape = tuple(levels[0].shape)
        declared = series.axes if len(series.axes) == len(shape) else series.get_axes(squeeze=False)
        names = resolve_names(declared, shape, axes)
        scale, units, sizes_said = _spacing(tif, names, path.name, at)
        if not all(isinstance(level, MappedArray) for level in levels):
            closing.pop_all()  # the store goes on reading from the open file
        colors, called, origin = _looks(tif)
        frame = Axes(names, scale, units, tuple(origin.get(name, 0.0) for name in names))
        notes = (
            *contents_of(tif, series, path.name),
            *([] if axes else odd_names(path.name, declared, names)),
            *_unread_description(tif, path.name),
            *sizes_said,
        )
        part = at if len(entries) > 1 else None
        return Volume(
            levels[0], frame, path.name, tuple(levels[1:]), colors, names=called, notes=notes, part=part
        )


def images_in_tiff(path: Path) -> tuple[ImageEntry, ...]:
    """List the images of a TIFF: the series that it holds.

    Raises
    ------
    LimnError
        As :func:`open_tiff`, but for several images.
    """
    with _reported(path), _opened(path) as tif:
        return _entries(tif, path)


def _opened(path: Path) -> tifffile.TiffFile:
    tif = tifffile.TiffFile(path)
    with ExitStack() as closing:
        closing.push(tif)
        if len(tif.pages) == 0:
            raise ValueError("there is no image behind its header")
        _refuse_outside_names(tif, path)
        closing.pop_all()
    return tif


def _entries(tif: tifffile.TiffFile, path: Path) -> tuple[ImageEntry, ...]:
    """List the series; those of an OME-TIFF have names."""
    series = tif.series
    if len(series) == 1:
        return (ImageEntry(path, "0", tuple(map(int, series[0].shape)), series[0].axes),)
    return tuple(
        ImageEntry(
            path.with_name(f"{path.name}#{number}"), str(number), tuple(map(int, each.shape)), each.axes,
            each.name if tif.is_ome else "",
        )
        for number, each in enumerate(series)
    )  # fmt: skip


@contextmanager
def _reported(path: Path) -> Iterator[None]:
    """Turn what tifffile raises, or only logs, into one sentence."""
    logged: list[str] = []
    listener = logging.Handler(logging.WARNING)
    listener.emit = lambda record: logged.append(record.getMessage())  # type: ignore[method-assign]
    logger = logging.getLogger("tifffile")
    logger.addHandler(listener)
    try:
        with foreign(lambda said: f"{path.name}: found no readable TIFF ({said}), expected one; "
                     "the file may be cut off or of another format.", path.name):  # fmt: skip
            yield
    finally:
        logger.removeHandler(listener)
    for text in logged:
        if "Missing data are zeroed" in text:  # tifffile would hand out zeros for planes that are not there
            raise LimnError(_planes_missing(path.name, text))
        if "circular reference" in text:  # and the pages behind it
            raise LimnError(
                f"{path.name}: found a list of pages that leads back to its beginning, expected one that ends; the file is damaged: "
                "copy it again from its source."
            )
        if "invalid page offset" in text:  # tifffile would leave out the planes behind the cut
            raise LimnError(f"{path.name}: the file is cut off ({text}); copy it again from its source.")


def _planes_missing(name: str, logged: str) -> str:
    """Say which planes of an OME-TIFF are missing, and why.

    Examples
    --------
    >>> _planes_missing("a.ome.tif", "OME series is missing 4 frames. Missing data are zeroed")
    'a.ome.tif: found 4 planes fewer than its OME-XML describes; copy or export the image again.'
    """
    if gone := _NOT_THERE.search(logged):
        return f"{name}: found one file of an OME-TIFF set, expected {gone[1]!r} beside it, which is missing; put it into this folder."
    if fewer := _FEWER.search(logged):
        return f"{name}: found {fewer[1]} planes fewer than its OME-XML describes; copy or export the image again."
    return f"{name}: found an OME-TIFF set of which a file cannot be read ({logged}); copy its files again from their source."


def _unread_description(tif: tifffile.TiffFile, name: str) -> Iterator[str]:
    """Report an OME-XML that is there and cannot be read."""
    written = tif.pages.first.description
    if "<OME" in written and "openmicroscopy" in written and _parsed(written) is None:
        yield f"{name}: found a description (OME-XML) that cannot be read; its voxel size and axes are taken as not known."


def files_of(path: Path) -> list[Path]:
    """List the files of an OME-TIFF's set, itself included."""
    with _reported(path), tifffile.TiffFile(path) as tif:
        return sorted({path, *(path.with_name(name) for name in _named(tif))})


def _named(tif: tifffile.TiffFile) -> Iterator[str]:
    """Yield the names of files that the OME-XML speaks of."""
    return (text for element in _ome(tif).iter() if (text := element.get("FileName")))


def _refuse_outside_names(tif: tifffile.TiffFile, path: Path) -> None:
    """Refuse names of files that leave the folder.

    An OME-TIFF may name the other files of its set.
    """
    for name in _named(tif):
        if Path(name).name != name or "\\" in name or name in ("..", "."):
            raise LimnError(
                f"{path.name}: refers to the file {name!r} outside its folder; that is not opened."
            )


def _ome(tif: tifffile.TiffFile) -> ET.Element:
    """Parse the OME-XML of a file.

    An empty element where there is none, or none that can be read, as tifffile has it too.
    """
    parsed = _parsed(tif.ome_metadata or "")
    return ET.Element("none") if parsed is None else parsed


def _parsed(text: str) -> ET.Element | None:
    try:
        return ET.fromstring(text)  # noqa: S314 expat bounds expansion
    except ET.ParseError:
        return None


def _array(
    tif: tifffile.TiffFile,
    series: tifffile.TiffPageSeries,
    level: tifffile.TiffPageSeries,
    path: Path,
    number: int,
) -> ArrayLike:
    """Open one pyramid level of a series as a lazy array."""
    page = level.keyframe
    _refuse_cut_off(tif, level, path)
    if level.dataoffset is not None and not _in_one_file(tif, level):
        # tifffile takes planes of several files for one piece when their offsets happen to continue each other
        raise LimnError(
            f"{path.name}: planes of this OME-TIFF set cannot be assigned to files; save it as one file."
        )
    if level.dataoffset is not None and page.is_memmappable:
        dtype = np.dtype(level.dtype).newbyteorder(tif.byteorder)
        return MappedArray(path, level.shape, dtype, level.dataoffset)
    _refuse_undecodable(page, path)
    bound_pictures(level)
    return zarr.open_array(series.aszarr(level=number), mode="r")


def _refuse_undecodable(page: tifffile.TiffPage, path: Path) -> None:
    """Refuse a compression that this installation lacks.

    tifffile finds out when it is asked for a tile, also for one that is not there.
    """
    decode = page.decode
    try:
        decode(None, 0)
    except (ValueError, NotImplementedError) as error:
        raise no_codec(path.name, reason(error)) from error
    if page.compression == tifffile.COMPRESSION.OJPEG and not holds_jpegs(page):
        raise no_codec(path.name, "old-style JPEG, of which tables lie outside of the strips")


def _in_one_file(tif: tifffile.TiffFile, level: tifffile.TiffPageSeries) -> bool:
    """Return whether all pages lie in this file.

    The offsets of an OME-TIFF set do not say in which file they count.
    """
    return not tif.is_ome or all(page is None or page.parent is tif for page in level.pages)


def _refuse_cut_off(tif: tifffile.TiffFile, level: tifffile.TiffPageSeries, path: Path) -> None:
    """Refuse a file that is shorter than its header claims.

    This is seen before anything is read.
    """
    size = tif.filehandle.size
    end = 0
    if level.dataoffset is not None:
        end = level.dataoffset + prod(int(n) for n in level.shape) * np.dtype(level.dtype).itemsize
    elif (last := level.pages[-1]) is not None and last.parent is tif:
        end = max((o + n for o, n in zip(last.dataoffsets, last.databytecounts, strict=False)), default=0)
    if end > size:
        raise LimnError(
            f"{path.name}: the file is cut off: found {size} bytes, its header claims {end}; copy it again from its source."
        )
    if level.dataoffset is None:
        _refuse_claims(level.keyframe, size, path)
        _refuse_long_pieces(level, path)


def _refuse_claims(page: tifffile.TiffPage, size: int, path: Path) -> None:
    """Refuse tiles that the file cannot hold, or memory cannot."""
    tiles = prod(int(n) for n in page.chunked)
    if 2 * tiles > size:  # each has its place in the file noted in two bytes or more
        raise LimnError(
            f"{path.name}: the header claims {tiles:,} tiles or strips, more than a file of {size:,} bytes can hold; "
            "copy it again from its source."
        )
    refuse_large_piece(
        size_in_bytes(page.chunks, page.dtype),
        f"{path.name}: found a tile or strip",
        "save the image in smaller tiles, as tiled TIFF or OME-Zarr",
    )


def _refuse_long_pieces(level: tifffile.TiffPageSeries, path: Path) -> None:
    """Refuse tiles that take more bytes in the file than in memory.

    As a whole they would be read.
    """
    page = level.keyframe
    most = 2 * size_in_bytes(page.chunks, page.dtype) + _HEADERS
    for each in (page, level.pages[-1]):
        if each is not None and (longest := max(each.databytecounts, default=0)) > most:
            raise LimnError(
                f"{path.name}: the header claims {longest / 1e6:.0f} MB for one tile or strip, expected at most {most / 1e6:.0f} MB; "
                "copy the file again from its source."
            )


def _spacing(
    tif: tifffile.TiffFile, names: str, name: str, image: int
) -> tuple[tuple[float, ...], tuple[str, ...], tuple[str, ...]]:
    """Return voxel sizes and units, and what to say of them.

    1 pixel where the file says nothing sensible.
    """
    if tif.is_ome:
        sizes = _ome_spacing(tif, image)
    elif tif.is_imagej:
        sizes = _imagej_spacing(tif)
    else:
        sizes = _tag_spacing(tif)
    given = {a: (s, u) for a, (s, u) in sizes.items() if a in names and not np.isnan(s)}
    good, notes = known_sizes(name, given)
    pairs = [good.get(a, (1.0, "pixel")) for a in names]
    return tuple(s for s, _ in pairs), tuple(u for _, u in pairs), notes


def _ome_spacing(tif: tifffile.TiffFile, image: int) -> dict[str, tuple[float, str]]:
    """Read PhysicalSizeX/Y/Z (default µm) and TimeIncrement (default s).

    Each has its own unit. Nothing where it is not known which of the described images a series is.
    """
    sizes: dict[str, tuple[float, str]] = {}
    described = _ome(tif).findall("{*}Image/{*}Pixels")
    if not described or (len(described) != len(tif.series) and len(tif.series) > 1):
        return sizes
    pixels = described[image]
    for axis, key, default in [(a, f"PhysicalSize{a}", "µm") for a in "ZYX"] + [("T", "TimeIncrement", "s")]:
        sizes[axis] = (_number(pixels.get(key, "")), pixels.get(f"{key}Unit", default))
    return sizes


def _imagej_spacing(tif: tifffile.TiffFile) -> dict[str, tuple[float, str]]:
    """Read sizes in ImageJ's own units; inches mean print.

    XY from the resolution tags, Z from `spacing`, time from `finterval`. Y and Z have units of their own where they differ from that of X.
    """
    meta = tif.imagej_metadata or {}
    units = {axis: str(meta.get(key, meta.get("unit", ""))) for axis, key in _IMAGEJ_UNITS.items()}
    sizes = _pixel_sizes(tif) | {"Z": _number(meta.get("spacing"))}
    lengths = {axis: (size, units[axis]) for axis, size in sizes.items() if known_unit(units[axis]) != "inch"}
    return lengths | {"T": (_number(meta.get("finterval")), "second")}


def _number(text: object) -> float:
    """Read a number with a decimal point or comma.

    NaN for anything else.
    """
    try:
        return float(str(text).replace(",", "."))
    except ValueError:
        return float("nan")


def _tag_spacing(tif: tifffile.TiffFile) -> dict[str, tuple[float, str]]:
    """Read X and Y in centimetres; inches mean print."""
    if tif.pages.first.tags.valueof("ResolutionUnit") != 3:
        return {}
    return {axis: (1e4 * size, "micrometer") for axis, size in _pixel_sizes(tif).items()}


def _pixel_sizes(tif: tifffile.TiffFile) -> dict[str, float]:
    """Read the sizes of a pixel, in the unit of the resolution."""
    tags = tif.pages.first.tags
    ratios = {axis: tags.valueof(f"{axis}Resolution", default=(0, 1)) for axis in "XY"}
    return {axis: units / pixels for axis, (pixels, units) in ratios.items() if pixels}


def _looks(tif: tifffile.TiffFile) -> tuple[dict[int, RGBA] | None, dict[int, str] | None, dict[str, float]]:
    """Read colours, names and origin of labels written by this package.

    Nothing of any other file.
    """
    nothing: tuple[None, None, dict[str, float]] = None, None, {}
    if MARK not in (tif.ome_metadata or ""):
        return nothing
    text = _ome(tif).findtext("{*}Image/{*}Description", "")
    try:
        content = json.loads(text)
        colors = {int(value): (c[0], c[1], c[2], c[3]) for value, c in content[MARK].items()}
        names = {int(value): str(name) for value, name in content.get(NAMES, {}).items()}
        origin = {str(axis): float(at) for axis, at in content.get(ORIGIN, {}).items()}
    except (ValueError, KeyError, TypeError, AttributeError, IndexError):
        return nothing
    return colors, names or None, {axis: at for axis, at in origin.items() if np.isfinite(at)}
