"""Events as they travel: a JSON header, and bytes.

A run on another machine sends what :func:`to_wire` gives; :func:`from_wire` makes an event of it that a listener can use as the
original. An output arrives as its path and levels, read from a disk that both see; a model as the bytes of its ``.limn`` file. What
is predicted for the view follows block by block, see :class:`Sender` and :class:`Receiver`.

A new class of events needs a form here: a test walks all of them.
"""

from __future__ import annotations

import math
import typing
import zlib
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_limn.annotation.findings import Found
from napari_limn.annotation.journal.sparse_labels import PaintStore
from napari_limn.errors import LimnError
from napari_limn.execution.events import ImageBegun, ImageDone
from napari_limn.inference.events import Planned, Viewing, Writing
from napari_limn.runs import BlockDone, Event, Noted, Warned, Working
from napari_limn.specs import from_json, to_json
from napari_limn.training.events import Improved, Repainted, Scored, Step, Waiting
from napari_limn.volume.axes import GRID
from napari_limn.volume.boxes import contains, shape_of, slices, whole
from napari_limn.volume.volume import size_in_bytes
from napari_limn.volume.writing.view import OutputView

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from napari_limn.volume.boxes import Box

_KIND = "event"  # key of the header that names the class
_IN_MEMORY = (
    1 << 30
)  # bytes up to which labels of a view are one array; of larger ones only what is written takes memory
_NOT_FINITE = ("nan", "inf", "-inf")  # JSON has no numbers for these


@dataclass(frozen=True, slots=True)
class _Form:
    """How a class of events is packed and unpacked.

    Into a header and bytes, and out again.
    """

    pack: Callable[[Any], tuple[dict[str, Any], bytes | None]]
    unpack: Callable[[dict[str, Any], bytes | None], Event]


def to_wire(event: Event) -> tuple[dict[str, Any], bytes | None]:
    """Put an event into a header of plain values, and bytes.

    Only some events need bytes.

    Raises
    ------
    LimnError
        For an event of a class that has no form.

    Examples
    --------
    >>> to_wire(Warned("slow"))
    ({'event': 'Warned', 'message': 'slow'}, None)
    """
    if (form := _FORMS.get(type(event))) is None:
        raise _unknown(type(event).__name__)
    header, body = form.pack(event)
    return {_KIND: type(event).__name__, **header}, body


def from_wire(header: Any, body: bytes | None = None) -> Event:
    """Make the event of what :func:`to_wire` gave.

    Raises
    ------
    LimnError
        For a class that is not known, or values that are not those of its events.

    Examples
    --------
    >>> from_wire({"event": "Scored", "step": 20, "seconds": 1.5, "score": 0.8, "best": True})
    Scored(step=20, seconds=1.5, score=0.8, best=True)
    """
    kind = header.get(_KIND) if isinstance(header, dict) else None
    known = {cls.__name__: form for cls, form in _FORMS.items()}
    if not isinstance(kind, str) or kind not in known:
        raise _unknown(kind)
    rest = {key: value for key, value in header.items() if key != _KIND}
    try:
        return known[kind].unpack(rest, body)
    except (KeyError, TypeError, ValueError, zlib.error) as error:
        if isinstance(error, LimnError):
            raise
        raise LimnError(
            f"{kind}: found an event that is incomplete or damaged ({type(error).__name__}: {error}), expected one as "
            "napari-limn sends it; connect again."
        ) from error


def _unknown(kind: Any) -> LimnError:
    names = ", ".join(sorted(cls.__name__ for cls in _FORMS))
    return LimnError(
        f"found the event {kind!r}, expected one of {names}; use the same version of napari-limn on both sides."
    )


# ---- events that hold nothing but plain values -----------------------------------------------------------------------
def _plain(kind: type[Event]) -> _Form:
    """Pack the fields of a class by their names.

    Numbers that are not finite go as text.
    """

    def pack(event: Event) -> tuple[dict[str, Any], bytes | None]:
        return {name: _as_text(value) for name, value in to_json(event).items()}, None

    def unpack(header: dict[str, Any], _: bytes | None) -> Event:
        hints = typing.get_type_hints(kind)
        return from_json(kind, {n: _number_of(v) if hints.get(n) is float else v for n, v in header.items()})

    return _Form(pack, unpack)


def _as_text(value: Any) -> Any:
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value


def _number_of(value: Any) -> Any:
    return float(value) if isinstance(value, str) and value in _NOT_FINITE else value


# ---- events that hold objects ----------------------------------------------------------------------------------------
def _pack_plan(event: Planned) -> tuple[dict[str, Any], bytes | None]:
    return {"plan": to_json(event.plan)}, None


def _unpack_plan(header: dict[str, Any], _: bytes | None) -> Planned:
    from napari_limn.inference.planning.plan import Plan

    return Planned(from_json(Plan, header["plan"]))


def _pack_output(event: Writing) -> tuple[dict[str, Any], bytes | None]:
    return {"output": to_json(event.output.view())}, None


def _unpack_output(header: dict[str, Any], _: bytes | None) -> Writing:
    return Writing(from_json(OutputView, header["output"]))


def _pack_model(event: Improved) -> tuple[dict[str, Any], bytes | None]:
    with TemporaryDirectory(prefix="limn-") as folder:
        return {"sha256": event.model.digest}, event.model.save(Path(folder, "sent.limn")).read_bytes()


def _unpack_model(header: dict[str, Any], body: bytes | None) -> Improved:
    from napari_limn.model import Model

    with TemporaryDirectory(prefix="limn-") as folder:
        path = Path(folder, "received.limn")
        path.write_bytes(body or b"")
        model = Model.load(path)
    if model.digest != header["sha256"]:
        raise LimnError(
            "Improved: found another model than the header says, expected the same; connect again."
        )
    return Improved(model)


def _pack_view(event: Viewing) -> tuple[dict[str, Any], bytes | None]:
    """Pack what is in the array, if it lies in memory.

    Others begin with zeros on the other side, too.
    """
    array = event.array
    header = {"shape": [int(n) for n in array.shape], "dtype": np.dtype(array.dtype).str}
    there = isinstance(array, np.ndarray) and bool(array.any())
    return header, zlib.compress(array.tobytes(), 1) if there else None


def _unpack_view(header: dict[str, Any], body: bytes | None) -> Viewing:
    shape, dtype = tuple(int(n) for n in header["shape"]), np.dtype(str(header["dtype"]))
    if dtype.kind not in "bui" or not all(n > 0 for n in shape):
        raise ValueError(f"labels of type {dtype} and shape {shape}")
    if body is not None:
        return Viewing(_array_of(body, shape, dtype))
    return Viewing(
        np.zeros(shape, dtype) if size_in_bytes(shape, dtype) <= _IN_MEMORY else PaintStore(shape, dtype)
    )


def _array_of(body: bytes, shape: tuple[int, ...], dtype: np.dtype[Any]) -> NDArray[Any]:
    """Make an array of bytes.

    One of another size is refused before it is spread out.
    """
    expected = math.prod(shape) * dtype.itemsize
    data = zlib.decompressobj().decompress(body, expected + 1)
    if len(data) != expected:
        raise ValueError(f"bytes that are not those of an array of {shape}")
    return np.frombuffer(data, dtype).reshape(shape).copy()


_FORMS: dict[type[Event], _Form] = {
    **{
        cls: _plain(cls)
        for cls in (
            BlockDone,
            Found,
            ImageBegun,
            ImageDone,
            Repainted,
            Noted,
            Scored,
            Step,
            Waiting,
            Warned,
            Working,
        )
    },
    Improved: _Form(_pack_model, _unpack_model),
    Planned: _Form(_pack_plan, _unpack_plan),
    Viewing: _Form(_pack_view, _unpack_view),
    Writing: _Form(_pack_output, _unpack_output),
}


# ---- a run from end to end: what is predicted for the view -----------------------------------------------------------
class Sender:
    """Sends the events of one run.

    After a :class:`Viewing`, each block with its labels.

    Parameters
    ----------
    names
        Axes of the image without channels, in its order.

    Examples
    --------
    >>> here, sender, receiver = np.zeros((4, 4), np.uint8), Sender("YX"), Receiver("YX")
    >>> there = receiver.receive(*sender.send(Viewing(here))).array
    >>> here[2:, 2:] = 3
    >>> receiver.receive(*sender.send(BlockDone(((0, 1), (0, 1), (2, 4), (2, 4)), 1, 4, 0.1))).done
    1
    >>> there.tolist()
    [[0, 0, 0, 0], [0, 0, 0, 0], [0, 0, 3, 3], [0, 0, 3, 3]]
    """

    def __init__(self, names: str) -> None:
        self._names = names
        self._array: Any = None

    def send(self, event: Event) -> tuple[dict[str, Any], bytes | None]:
        """Pack an event as :func:`to_wire`, with labels of the view."""
        header, body = to_wire(event)
        if isinstance(event, Viewing):
            self._array = event.array
        elif isinstance(event, BlockDone) and self._array is not None:
            body = zlib.compress(np.asarray(self._array[_index(event.box, self._names)]).tobytes(), 1)
        return header, body


class Receiver:
    """Receives what a :class:`Sender` sent.

    It writes each block of the view before its event is handed on.
    """

    def __init__(self, names: str) -> None:
        self._names = names
        self._array: Any = None

    def receive(self, header: Any, body: bytes | None = None) -> Any:
        """Make an event as :func:`from_wire`, and write its block.

        Raises
        ------
        LimnError
            As :func:`from_wire`; and for the labels of a block without a view that it lies in.
        """
        event = from_wire(header, body)
        if isinstance(event, Viewing):
            self._array = event.array
        elif isinstance(event, BlockDone) and body is not None:
            self._write(event.box, body)
        return event

    def _write(self, box: Box, body: bytes) -> None:
        if self._array is None:
            raise LimnError("BlockDone: found the labels of a block, expected the view first; connect again.")
        try:
            self._array[_index(box, self._names)] = self._block(box, body)
        except (ValueError, zlib.error) as error:
            raise LimnError(
                f"BlockDone: found labels that do not fit {box} ({error}); connect again."
            ) from error

    def _block(self, box: Box, body: bytes) -> NDArray[Any]:
        """Return the labels of a block, in the axes of the view."""
        here = tuple((s.start, s.stop) for s in _index(box, self._names))
        if not contains(whole(self._array.shape), here):
            raise ValueError(f"they leave the view of extent {self._array.shape}")
        return _array_of(body, shape_of(here), self._array.dtype)


def _index(box: Box, names: str) -> tuple[slice, ...]:
    """Return a box of the TZYX grid as an index.

    Of an array with these axes.
    """
    at = dict(zip(GRID, slices(box), strict=True))
    return tuple(at[name] for name in names)
