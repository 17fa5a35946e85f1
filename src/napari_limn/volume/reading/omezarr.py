"""OME-Zarr 0.1 to 0.5 and plain Zarr arrays as lazy volumes.

See the NGFF specification, https://ngff.openmicroscopy.org.
"""

from __future__ import annotations

import re
from contextlib import contextmanager
from math import isfinite
from typing import TYPE_CHECKING, Any

import zarr

from napari_limn.errors import LimnError
from napari_limn.volume.axes import Axes, known_sizes, known_unit, odd_names, resolve_names
from napari_limn.volume.decoding.zarr_codecs import CheckedStore, bounded
from napari_limn.volume.foreign import foreign
from napari_limn.volume.reading.choice import ImageEntry, chosen
from napari_limn.volume.reading.zarr_contents import images_below, never_written, ome_metadata, refuse_claims
from napari_limn.volume.volume import Volume

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from napari_limn.volume.volume import RGBA

MARK = "napari-limn"
"""Attribute of an output written here: which of its labels are meant when its path is opened."""


_VERSION = re.compile(r"0\.[1-5]($|\D)")


def open_zarr(path: Path, axes: str | None = None, image: int | str | None = None) -> Volume:
    """Open a Zarr array or an OME-Zarr image lazily.

    Of an output of ours it is its labels; of a folder with several images, the one that `image` chooses.

    Raises
    ------
    LimnError
        If there is no array, the metadata name a level that is not there, they are of a version that is not known, or there are
        several images of which none was chosen.
    """
    node = _open(path, path.name)
    with _reported(path):
        if isinstance(node, zarr.Array):
            names = resolve_names(_letters(node), node.shape, axes)
            refuse_claims(node, path.name)
            notes = [
                *([] if axes else odd_names(path.name, _letters(node), names)),
                *_two_formats(path),
                *never_written(node, path.name),
            ]
            return Volume(bounded(node), Axes.of(names), path.name, notes=tuple(notes))
        entries = _entries(node, path)
        group, part = _image_of(node, chosen(entries, image, path), path)
        meta = ome_metadata(group)
        _refuse_unknown_version(meta, path.name)
        described = meta["multiscales"][part or 0]
        levels = [_level(group, entry["path"], path) for entry in described["datasets"]]
        finest, coarser = levels[0], [level for level in levels[1:] if _of_one_kind(level, levels[0])]
        refuse_claims(finest, path.name)
        declared, units = _declared(described, finest.ndim)
        names = resolve_names(declared, finest.shape, axes)
        sizes, places = _transform(described, finest.ndim)
        frame, notes = _frame(names, sizes, places, units, path.name)
        notes += [
            *([] if axes else odd_names(path.name, declared, names)),
            *_two_formats(path),
            *_levels_left_out(len(levels) - 1 - len(coarser), path.name),
        ]
        colors = _label_colors(meta)
        if colors is None:  # labels are background where nothing is stored
            notes += never_written(finest, path.name)
        return Volume(
            finest,
            frame,
            path.name,
            tuple(coarser),
            colors,
            names=_label_names(meta),
            notes=tuple(notes),
            part=part,
        )


def images_in_zarr(path: Path) -> tuple[ImageEntry, ...]:
    """List the images of a Zarr folder.

    Those of a plate, a well, a series as bioformats2raw writes it, or one that are described together.

    Raises
    ------
    LimnError
        As :func:`open_zarr`, but for several images.
    """
    node = _open(path, path.name)
    with _reported(path):
        if isinstance(node, zarr.Array):
            return (ImageEntry(path, "0", tuple(map(int, node.shape))),)
        return _entries(node, path)


def _entries(node: zarr.Group, path: Path) -> tuple[ImageEntry, ...]:
    """List the images of a group; a single one has its path."""
    mark = node.attrs.get(MARK)
    if isinstance(mark, dict) and isinstance(node.get(f"labels/{mark.get('labels')}"), zarr.Group):
        return (ImageEntry(path, f"labels/{mark['labels']}"),)
    if entries := images_below(node, path):
        return entries
    raise LimnError(
        f"{path.name}: found a Zarr group without multiscale metadata, expected an OME-Zarr image or a Zarr array; "
        f"choose one of its members ({', '.join(sorted(node)[:5]) or 'it has none'})."
    )


def _image_of(node: zarr.Group, entry: ImageEntry, path: Path) -> tuple[zarr.Group, int | None]:
    """Return the group of an image, and its number there."""
    described = ome_metadata(node).get("multiscales")
    if described and not entry.key.startswith("labels/"):
        return node, int(entry.key) if len(described) > 1 else None
    group = node.get(entry.key)
    if not isinstance(group, zarr.Group) or not ome_metadata(group).get("multiscales"):
        raise LimnError(
            f"{path.name}: found no image at {entry.key}, which the metadata name, expected an OME-Zarr image; copy the folder again."
        )
    return group, None


def _frame(
    names: str, sizes: Sequence[float], places: Sequence[float], units: Sequence[str | None], name: str
) -> tuple[Axes, list[str]]:
    """Make axes of what the metadata say, and sentences on sizes.

    Numbers in a unit that is not known say nothing.
    """
    given = dict(zip(names, zip(sizes, units, strict=True), strict=True))
    good, said = known_sizes(name, given)
    scale, kept = zip(*(good.get(axis, (1.0, "pixel")) for axis in names), strict=True)
    translate = tuple(
        place if known_unit(unit) and isfinite(place) else 0.0
        for place, unit in zip(places, units, strict=True)
    )
    notes = list(said)
    if mirrored := [axis for axis, (size, _) in given.items() if size < 0 and axis in good]:
        notes.append(
            f"{name}: found a negative scale along {', '.join(mirrored)}, which mirrors the image; it is shown and used as it is stored."
        )
    return Axes(names, scale, kept, translate), notes


def _refuse_unknown_version(meta: Mapping[str, Any], name: str) -> None:
    """Refuse metadata of a version whose meaning is not known."""
    image = meta["multiscales"][0]
    version = meta.get("version", image.get("version"))
    if version is not None and _VERSION.match(str(version)) is None:
        raise LimnError(
            f"{name}: found OME-Zarr of version {version}, expected 0.1 to 0.5; save the image as version 0.5."
        )
    if "coordinateSystems" in image:
        raise LimnError(
            f"{name}: found coordinate systems, as in OME-Zarr from version 0.6 on, expected version 0.1 to 0.5; "
            "save the image as version 0.5."
        )


def _of_one_kind(level: zarr.Array[Any], finest: zarr.Array[Any]) -> bool:
    return level.ndim == finest.ndim and level.dtype == finest.dtype


def _levels_left_out(count: int, name: str) -> list[str]:
    """Report coarser levels that are no copies of the finest."""
    if not count:
        return []
    return [
        f"{name}: found {count} coarser levels of another type or number of axes than the finest; they are left out."
    ]


def is_zarr(path: Path) -> bool:
    """Return whether a folder holds the metadata of a Zarr."""
    return any((path / name).is_file() for name in ("zarr.json", ".zattrs", ".zgroup", ".zarray"))


def _letters(array: zarr.Array[Any]) -> str:
    """Return the first letter of each axis as an array names it.

    In Zarr 3, or as xarray does in Zarr 2; "?" where it does not.
    """
    given = getattr(array.metadata, "dimension_names", None) or array.attrs.get("_ARRAY_DIMENSIONS")
    names = given if isinstance(given, (list, tuple)) and len(given) == array.ndim else (None,) * array.ndim
    return "".join(str(name)[0] if name else "?" for name in names)


def channel_looks(path: Path) -> list[tuple[str, str]]:
    """Return name and colour (``"#RRGGBB"``) of each channel.

    Empty where the metadata of the OME-Zarr image do not say.
    """
    node = _open(path, path.name)
    omero = ome_metadata(node).get("omero") if isinstance(node, zarr.Group) else None
    rows = omero.get("channels") if isinstance(omero, dict) else None
    return [
        (str(row.get("label", number)), f"#{row.get('color', 'FFFFFF')}")
        for number, row in enumerate(rows if isinstance(rows, list) else ())
        if isinstance(row, dict)
    ]


@contextmanager
def _reported(path: Path) -> Iterator[None]:
    """Turn an error into one sentence that names the file."""
    broken = "expected multiscales with datasets, axes and transformations as in NGFF 0.4 or 0.5; write the file again."
    with foreign(lambda said: f"{path.name}: found broken OME-Zarr metadata ({said}), {broken}", path.name):
        yield


def _open(path: Path, name: str) -> zarr.Array[Any] | zarr.Group:
    with foreign(
        lambda said: (
            f"{name}: found no readable Zarr ({said}), expected an OME-Zarr folder; choose the folder itself."
        ),
        name,
    ):
        # both formats may be there; asked for one, zarr does not warn
        store = CheckedStore(path, read_only=True)
        return zarr.open(store, mode="r", zarr_format=3 if (path / "zarr.json").is_file() else None)


def _two_formats(path: Path) -> list[str]:
    """Report metadata of both formats, which may say different things."""
    if not (path / "zarr.json").is_file() or not any(
        (path / old).is_file() for old in (".zgroup", ".zarray")
    ):
        return []
    return [f"{path.name}: found metadata of Zarr 2 and of Zarr 3; those of Zarr 3 are used."]


def _level(group: zarr.Group, name: str, path: Path) -> zarr.Array[Any]:
    try:
        level = group[name]
    except KeyError as error:
        raise LimnError(
            f"{path.name}: level {name!r} is named in the metadata but missing on disk; copy it again."
        ) from error
    if not isinstance(level, zarr.Array):
        raise LimnError(f"{path.name}: level {name!r} is a group, expected an array.")
    return bounded(level)


def _declared(image: Mapping[str, Any], ndim: int) -> tuple[str, tuple[str | None, ...]]:
    """Return axis letters, and units as they are written.

    Before 0.3 the five axes were fixed.
    """
    axes = image.get("axes") or list("tczyx"[-ndim:])
    entries = [entry if isinstance(entry, dict) else {"name": entry} for entry in axes]
    letters = "".join(str(entry.get("name", "?"))[:1] for entry in entries)
    return letters, tuple(entry.get("unit") for entry in entries)


def _transform(image: Mapping[str, Any], ndim: int) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Compute scale and translation of the finest level.

    Its own, then those common to all levels.
    """
    scale, translate = [1.0] * ndim, [0.0] * ndim
    for step in (
        *image["datasets"][0].get("coordinateTransformations", ()),
        *image.get("coordinateTransformations", ()),
    ):
        kind = step.get("type")
        if kind not in ("scale", "translation", "identity"):
            raise LimnError(
                f"found a coordinate transformation of type {kind!r}, expected scale and translation; "
                "save the image with a voxel size alone."
            )
        if kind not in step:
            continue  # what lies in an array of its own is not read
        numbers = [float(number) for number in step[kind]]
        if len(numbers) != ndim:
            raise ValueError(f"a {kind} of {len(numbers)} numbers for {ndim} axes")
        if kind == "scale":
            scale = [a * b for a, b in zip(scale, numbers, strict=True)]
            translate = [a * b for a, b in zip(translate, numbers, strict=True)]
        else:
            translate = [a + b for a, b in zip(translate, numbers, strict=True)]
    return tuple(scale), tuple(translate)


def _label_colors(meta: Mapping[str, Any]) -> dict[int, RGBA] | None:
    """Return the colours of a label image (0–1).

    None where the group is no label image.
    """
    if "image-label" not in meta:
        return None
    rows = (meta["image-label"] or {}).get("colors") or ()
    colors: dict[int, RGBA] = {}
    for row in rows:
        if isinstance(row, dict) and "label-value" in row and len(rgba := row.get("rgba") or ()) == 4:
            red, green, blue, alpha = (float(c) / 255 for c in rgba)
            colors[int(row["label-value"])] = (red, green, blue, alpha)
    return colors


def _label_names(meta: Mapping[str, Any]) -> dict[int, str] | None:
    """Return the names of the values of a label image.

    None where the group is no label image, or names none.
    """
    rows = (meta.get("image-label") or {}).get("properties")
    names = {
        row["label-value"]: str(row["class"])
        for row in (rows if isinstance(rows, list) else ())
        if isinstance(row, dict) and isinstance(row.get("label-value"), int) and "class" in row
    }
    return names or None
