"""Arguments of public functions and records, held to their annotations.

Why: a wrong argument that is only noticed where it is used, after a minute of training or not at all, names something that the caller
never wrote. So it is answered at once, by the name that the caller used.
"""

from __future__ import annotations

import functools
import inspect
import reprlib
import types
import typing
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import suppress
from dataclasses import fields
from os import PathLike
from typing import Any, Literal, ParamSpec, TypeVar, cast

from napari_limn.errors import LimnError
from napari_limn.specs import expected_words, plain_value, revived_value

P = ParamSpec("P")
R = TypeVar("R")

_SIMPLE = (int, float, str, bool)
_WORDS = {Callable: "a function", Mapping: "a mapping", Generator: "a run", PathLike: "a path"}


def checked(function: Callable[P, R]) -> Callable[P, R]:
    """Hold the arguments of a function to their annotations.

    As :func:`~napari_limn.specs.check_fields` does for specs: NumPy's numbers become Python's, lists become tuples. A generator function
    answers when it is called, not when it is begun.

    Raises
    ------
    LimnError
        From the function, for a value of another type; it names function and argument.

    Examples
    --------
    >>> @checked
    ... def double(count: int) -> int:
    ...     return 2 * count
    >>> double("two")
    Traceback (most recent call last):
    ...
    napari_limn.errors.LimnError: double(count=…): found 'two', expected a whole number.
    """
    signature = inspect.signature(function)

    @functools.wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        given = signature.bind(*args, **kwargs)
        hints = _annotations(function)
        for name, value in given.arguments.items():
            given.arguments[name] = _held(
                hints.get(name, Any), value, f"{function.__qualname__}({name}=…)", deep=True
            )
        return function(*given.args, **given.kwargs)

    return call


def check_record(record: Any) -> None:
    """Hold each field of a new record to its annotation.

    For records that hold more than JSON does; see :func:`~napari_limn.specs.check_fields` for specs. What is in a mapping is not looked
    at: that may be long, and records are copied often.

    Raises
    ------
    LimnError
        For a value of another type, naming the field.
    """
    hints = _annotations(cast("Any", type(record)))
    for field in fields(record):
        value = getattr(record, field.name)
        held = _held(hints[field.name], value, f"{type(record).__name__}.{field.name}", deep=False)
        if held is not value:
            object.__setattr__(record, field.name, held)


@functools.cache
def _annotations(thing: Any) -> dict[str, Any]:
    """Evaluate the annotations of parameters or fields, once.

    What is returned may be known to type checkers only.
    """
    if isinstance(thing, type):
        return typing.get_type_hints(thing)
    named = {name: hint for name, hint in thing.__annotations__.items() if name != "return"}
    return typing.get_type_hints(cast("Any", types.SimpleNamespace(__annotations__=named)), thing.__globals__)


def _held(hint: Any, value: Any, where: str, *, deep: bool) -> Any:
    """Return `value` as an annotation asks for it, or refuse it.

    `deep`: whether to look into mappings.
    """
    options = typing.get_args(hint) if _is_union(hint) else (hint,)
    for option in options:
        kind = typing.get_origin(option) or option
        if kind is tuple and typing.get_args(option)[1:] == (...,) and isinstance(value, (list, tuple)):
            each = typing.get_args(option)[0]
            return tuple(_held(each, item, where, deep=deep) for item in value)
        if kind in _SIMPLE or kind in (tuple, Literal):
            with suppress(LimnError):
                return revived_value(option, plain_value(value), where)
        elif kind is Any or isinstance(value, Iterator if kind is Generator else kind):
            return _held_items(option, value, where) if deep and kind is Mapping else value
    written = " ".join(reprlib.repr(value).split())
    raise LimnError(f"{where}: found {written}, expected {_words(options)}.")


def _held_items(hint: Any, value: Mapping[Any, Any], where: str) -> dict[Any, Any]:
    """Hold the keys and values of a mapping to its annotation."""
    of_keys, of_values = typing.get_args(hint)
    return {
        _held(of_keys, key, f"{where}, a key", deep=True): _held(
            of_values, item, f"{where}, {key!r}", deep=True
        )
        for key, item in value.items()
    }


def _is_union(hint: Any) -> bool:
    return typing.get_origin(hint) in (typing.Union, types.UnionType)


def _words(options: tuple[Any, ...]) -> str:
    """Say in words which types are expected."""
    kinds = [typing.get_origin(option) or option for option in options]
    if PathLike in kinds:  # "a path" says it
        options = tuple(option for option in options if option is not str)
    words = [_WORDS.get(typing.get_origin(option)) or expected_words(option) for option in options]
    return " or ".join(words)
