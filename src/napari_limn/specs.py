"""Frozen dataclasses to JSON and back; unknown keys are refused by name."""

from __future__ import annotations

import types
import typing
from dataclasses import MISSING, asdict, fields, is_dataclass
from typing import Any, Literal, TypeVar, cast

from napari_limn.errors import LimnError

T = TypeVar("T")

DeviceName = Literal["auto", "cpu", "cuda", "mps"]
Precision = Literal["auto", "float32", "bfloat16", "float16"]


def to_json(spec: Any) -> dict[str, Any]:
    """Plain dict of a spec: nested specs become dicts, tuples stay tuples (JSON writes both as lists)."""
    return asdict(spec)


def from_json(kind: type[T], found: Any) -> T:
    """Rebuild a spec of type `kind` from what :func:`to_json` gave.

    Raises
    ------
    LimnError
        For a key that `kind` does not have, one that it needs and misses, or a value that it refuses.
    """
    if not isinstance(found, dict):
        raise LimnError(
            f"{kind.__name__}: found {type(found).__name__}, expected an object with keys and values."
        )
    known = {f.name: f for f in fields(cast("Any", kind))}
    if unknown := sorted(set(found) - set(known)):
        raise LimnError(
            f"{kind.__name__}: found unknown key {', '.join(unknown)}, expected some of {', '.join(known)}; "
            "mend the spelling, or use the version of napari-limn that wrote it."
        )
    needed = {n for n, f in known.items() if f.default is MISSING and f.default_factory is MISSING}
    if missing := sorted(needed - set(found)):
        raise LimnError(f"{kind.__name__}: key {', '.join(missing)} is missing; add it.")
    hints = typing.get_type_hints(kind)
    try:
        return kind(**{name: _revive(hints[name], value) for name, value in found.items()})
    except TypeError as error:
        raise LimnError(f"{kind.__name__}: a value has the wrong type ({error}).") from error


def _revive(hint: Any, value: Any) -> Any:
    """Turn lists back into tuples and dicts back into specs, as the annotation `hint` says."""
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        options = [a for a in typing.get_args(hint) if a is not type(None)]
        return None if value is None else _revive(options[0], value) if len(options) == 1 else value
    if is_dataclass(hint) and isinstance(value, dict):
        return from_json(cast("type[Any]", hint), value)
    if typing.get_origin(hint) is tuple and isinstance(value, (list, tuple)):
        inner = typing.get_args(hint)
        each = inner[:1] * len(value) if inner[1:] == (...,) else inner
        return tuple(_revive(kind, item) for kind, item in zip(each, value, strict=True))
    return value
