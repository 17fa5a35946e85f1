"""Painted labels into a file of their own; facts about a journal."""

from __future__ import annotations

from collections import Counter
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any

from napari_limn.annotation.classes import default_color, default_name
from napari_limn.annotation.journal.format import read_journal, replay
from napari_limn.annotation.journal.history import History
from napari_limn.annotation.strokes import count_values
from napari_limn.runs import BlockDone
from napari_limn.volume.boxes import blocks, count_blocks
from napari_limn.volume.volume import Volume
from napari_limn.volume.writing.destination import destination_of
from napari_limn.volume.writing.output import create_output, plan_output
from napari_limn.volume.writing.replacing import refuse_existing

if TYPE_CHECKING:
    from collections.abc import Generator, Mapping

    from napari_limn.annotation.legend import Legend
    from napari_limn.runs import Event
    from napari_limn.volume.volume import RGBA

_BLOCK = (1, 1, 1024, 1024)  # strokes are mostly looked at plane by plane


def saving_events(
    labels: Volume,
    path: Path,
    colors: Mapping[int, RGBA] | None = None,
    names: Mapping[int, str] | None = None,
    *,
    overwrite: bool = False,
) -> Generator[Event, None, Path]:
    """Save painted labels with their axes; closing the run leaves no file.

    Parameters
    ----------
    labels
        Whole numbers, without a channel axis.
    path
        Ends in ``.tif`` or ``.ome.zarr``, or names labels inside an OME-Zarr image.
    colors, names
        Of the values; fixed ones where not given.

    Raises
    ------
    LimnError
        As :func:`napari_limn.volume.writing.output.create_output`.
    """
    refuse_existing(path, overwrite=overwrite, file=destination_of(path).kind == "tiff")
    values = sorted(count_values(labels))
    palette = {v: (colors or {}).get(v, default_color(v)) for v in values}
    called = {v: (names or {}).get(v, default_name(v)) for v in values}
    layout = plan_output(path, labels, labels.dtype, _BLOCK)
    output = create_output(layout, path, labels, palette, called, overwrite=overwrite)
    began, shard, done = perf_counter(), output.layout.levels[0].shard, False
    total = count_blocks(labels.grid, shard)
    try:
        for number, box in enumerate(blocks(labels.grid, shard), start=1):
            output.write(box, labels.read(box)[0])
            yield BlockDone(box, number, total, perf_counter() - began)
        result: Path = output.finish()
        done = True
        return result
    finally:
        if not done:
            with suppress(OSError):
                output.abandon()


def replay_events(journal: Path, path: Path, *, overwrite: bool = False) -> Generator[Event, None, Path]:
    """Rebuild the labels of a journal and save them.

    Voxel by voxel, with the names and colours of its classes.

    Raises
    ------
    LimnError
        If the journal is damaged; and as :func:`saving_events`.
    """
    # before the journal is read
    refuse_existing(path, overwrite=overwrite, file=destination_of(path).kind == "tiff")
    contents = read_journal(journal)
    image = Path(contents.header.path) if contents.header.path else None  # which the labels must not replace
    labels = Volume(replay(contents), contents.header.axes, journal.name, path=image)
    legend = contents.legend
    return (yield from saving_events(labels, path, legend.colors, legend.names, overwrite=overwrite))


def journal_info(path: Path) -> dict[str, Any]:
    """Describe a journal: ``text`` for people, the rest for programs.

    Raises
    ------
    LimnError
        If it is none, or damaged.
    """
    contents = read_journal(path)
    header, records, legend = contents.header, contents.records, contents.legend
    kinds = Counter(record.kind for record in records)
    history = History.of(records)
    painted = count_values(Volume(replay(contents), header.axes, path.name))
    span = [_stamp(records[0].time), _stamp(records[-1].time)] if records else []
    torn = path.stat().st_size - contents.whole
    counted = ", ".join(f"{n} {kind}" for kind, n in kinds.items()) or "nothing"
    lines = [
        f"{path.name}: strokes on {header.image}, {header.axes.names} {' × '.join(map(str, header.shape))}, {header.dtype}",
        f"{len(records)} records ({counted})" + (f", {span[0]} to {span[1]}" if span else ""),
        f"{len(history.done)} to undo, {len(history.undone)} to redo",
        *(
            f"  {_title_of(v, legend)}: {painted.get(v, 0):,} voxels"
            for v in sorted({*painted, *legend.values})
        ),
        *(["  0 means background"] if legend.zero == "background" else []),
        *([f"its last {torn} bytes were cut off by a crash and do not count"] if torn else []),
    ]
    return {
        "text": "\n".join(lines), "image": header.path or header.image, "shape": list(header.shape),
        "axes": header.axes.names, "dtype": header.dtype, "records": len(records), "kinds": dict(kinds),
        "undo": len(history.done), "redo": len(history.undone), "values": painted, "time": span, "torn": torn,
        "classes": legend.to_json(),
    }  # fmt: skip


def _title_of(value: int, legend: Legend) -> str:
    name = legend.names.get(value, default_name(value))
    return f"value {value}" if name == default_name(value) else f"value {value}, “{name}”"


def _stamp(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
