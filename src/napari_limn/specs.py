"""Frozen dataclasses to JSON and back; unknown keys are refused by name."""

from __future__ import annotations

import inspect
import json
import types
import typing
from contextlib import suppress
from dataclasses import MISSING, asdict, fields, is_dataclass
from functools import cache
from typing import Any, Literal, TypeVar, cast

from napari_limn.errors import LimnError

T = TypeVar("T")

_WORDS = {int: "a whole number", float: "a number", str: "a text", bool: "True or False", type(None): "None"}
_MOST = 1 << 63  # beyond it a whole number counts nothing that there is
_LONGEST = 100  # letters of a value that a sentence quotes

# what can be chosen in the window, on the command line and in a spec alike
DeviceName = Literal["auto", "cpu", "cuda", "mps"]
Precision = Literal["auto", "float32", "bfloat16", "float16"]
Preset = Literal["fast", "balanced", "thorough"]
Probabilities = Literal["uint8", "float16"]
"""How a probability is stored: 255 p rounded, or as it is in half precision."""
Suffix = Literal[".tif", ".ome.zarr"]
"""How the names of label files end."""
Intensity = Literal["each", "shared"]
"""Whether the intensities of several images are fitted to each, or once to all."""
ZeroMeaning = Literal["unlabelled", "background"]
"""What a 0 in labels means: not labelled, or a class of its own."""


def described(kind: type[Any]) -> dict[str, str]:
    """Return the description of each field of a spec.

    It comes from the docstring, as one plain line. Write the description there, once; the window shows it as
    a tooltip.

    Examples
    --------
    >>> from napari_limn.training.spec import TrainSpec
    >>> described(TrainSpec)["batch"]
    'Patches a step.'
    """
    texts: dict[str, list[str]] = {}
    names = {f.name for f in fields(cast("Any", kind))}
    rows: list[str] = []
    for line in inspect.getdoc(kind).splitlines() if kind.__doc__ else []:  # type: ignore[union-attr]
        if not line.startswith(" ") and set(line.split(", ")) <= names:
            rows = []
            texts |= dict.fromkeys(line.split(", "), rows)
        elif line.startswith("    "):
            rows.append(line.strip())
        else:
            rows = []
    return {name: " ".join(rows).replace("`", "") for name, rows in texts.items()}


def to_json(spec: Any) -> dict[str, Any]:
    """Turn a spec into a plain dict.

    Nested specs become dicts, tuples stay tuples (JSON writes both as lists), NumPy's numbers Python's.
    """
    plain: dict[str, Any] = plain_value(asdict(spec))
    return plain


def plain_value(value: Any) -> Any:
    """Return the same without anything of NumPy.

    No safe way of loading takes that.
    """
    if isinstance(value, dict):
        return {plain_value(key): plain_value(item) for key, item in value.items()}
    if isinstance(value, (tuple, list)):
        return tuple(map(plain_value, value))
    return plain_value(value.tolist()) if hasattr(value, "tolist") else value


def from_json(kind: type[T], content: Any) -> T:
    """Rebuild a spec of type `kind` from what :func:`to_json` gave.

    Raises
    ------
    LimnError
        For a key that `kind` does not have, one that it needs and misses, or a value that it refuses.
    """
    if not isinstance(content, dict):
        raise LimnError(
            f"{kind.__name__}: found {type(content).__name__}, expected an object with keys and values."
        )
    known = {f.name: f for f in fields(cast("Any", kind))}
    if unknown := sorted(set(content) - set(known)):
        raise LimnError(
            f"{kind.__name__}: found unknown key {', '.join(unknown)}, expected some of {', '.join(known)}; "
            "correct the spelling, or use the version of napari-limn that wrote it."
        )
    needed = {n for n, f in known.items() if f.default is MISSING and f.default_factory is MISSING}
    if missing := sorted(needed - set(content)):
        raise LimnError(f"{kind.__name__}: key {', '.join(missing)} is missing; add it.")
    hints = _hints(cast("Any", kind))
    return kind(
        **{
            name: revived_value(hints[name], value, f"{kind.__name__}.{name}")
            for name, value in content.items()
        }
    )


def check_fields(spec: Any) -> None:
    """Hold each field of a new spec to its annotation.

    Called first in ``__post_init__``, so that what is written in Python is answered as what is read from a file. NumPy's numbers become
    Python's, lists become tuples.

    Raises
    ------
    LimnError
        For a value of another type, naming the field.
    """
    kind = type(spec)
    for name, hint in _hints(cast("Any", kind)).items():
        value = getattr(spec, name)
        revived = revived_value(hint, plain_value(value), f"{kind.__name__}.{name}")
        if revived is not value:
            object.__setattr__(spec, name, revived)


@cache
def _hints(kind: type[Any]) -> dict[str, Any]:
    """Give the annotation of each field, evaluated once."""
    hints = typing.get_type_hints(kind)
    return {field.name: hints[field.name] for field in fields(kind)}


def parse_json(text: str | bytes, expected: str) -> Any:
    """Parse JSON that comes from outside.

    Parameters
    ----------
    expected
        What it should be, to be said where it is no JSON.

    Raises
    ------
    LimnError
        For text that is no JSON, or nested without an end.

    Examples
    --------
    >>> parse_json('{"a": 1}', "a spec")
    {'a': 1}
    """
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        said = "it is nested too deeply" if isinstance(error, RecursionError) else str(error)
        raise LimnError(f"found no valid JSON ({said}), expected {expected}.") from error


def revived_value(hint: Any, value: Any, where: str) -> Any:
    """Return the value that the annotation `hint` asks for.

    Lists are turned back into tuples and objects into specs.
    """
    options = typing.get_args(hint)
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        inner = [option for option in options if option is not type(None)]
        if value is None or len(inner) == 1:
            return None if value is None else revived_value(inner[0], value, where)
        for option in inner:
            with suppress(LimnError):
                return revived_value(option, value, where)
    if is_dataclass(hint) and isinstance(hint, type) and isinstance(value, hint):
        return value
    if is_dataclass(hint) and isinstance(value, dict):
        return from_json(cast("type[Any]", hint), value)
    if typing.get_origin(hint) is tuple and isinstance(value, (list, tuple)):
        each = options[:1] * len(value) if options[1:] == (...,) else options
        if len(each) == len(value):
            return tuple(revived_value(kind, item, where) for kind, item in zip(each, value, strict=True))
    if typing.get_origin(hint) is typing.Literal and any(
        type(value) is type(option) and value == option for option in options
    ):
        return value
    if hint is float and isinstance(value, (int, float)) and not isinstance(value, bool):
        with suppress(OverflowError):
            return float(value)
    if hint in (int, str, bool) and type(value) is hint and not (hint is int and abs(value) >= _MOST):
        return value
    raise LimnError(f"{where}: found {_shown(value)}, expected {expected_words(hint)}.")


def _shown(value: Any) -> str:
    """Return a value as a sentence can hold it."""
    try:
        text = repr(value)
    except (ValueError, RecursionError):  # a number of thousands of digits; lists without an end
        return f"a {type(value).__name__} that is too large"
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"


def expected_words(hint: Any) -> str:
    """Say in words what an annotation asks for."""
    options = typing.get_args(hint)
    if typing.get_origin(hint) is typing.Literal:
        return f"one of {', '.join(map(str, options))}"
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        return " or ".join(expected_words(option) for option in options)
    if typing.get_origin(hint) is tuple:
        count = "" if options[1:] == (...,) else f"{len(options)} of them, "
        return f"a sequence, {count}each {expected_words(options[0])}"
    return _WORDS.get(hint) or str(getattr(hint, "__name__", hint))
