"""How the public contract is read: signatures, the parser, what commands say, and files of before."""

from __future__ import annotations

import inspect
import io
import json
import re
import shutil
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import MISSING, asdict, fields, is_dataclass
from importlib.metadata import entry_points
from pathlib import Path

import numpy as np
import pytest

import napari_limn as limn

OLD = Path(__file__).parents[1] / "contract" / "files"


# ---- names ------------------------------------------------------------------------------------------------------------
MEMBERS = {
    "Classes": ("color_of", "count", "dtype", "merged", "name_of", "to_indices", "to_values"),
    "Model": ("copy", "digest", "load", "pruned", "save"),
    "TrainSpec": ("ndim",),
    "UNetSpec": ("channels", "depth", "kernel", "ndim", "stride", "tile_exact"),
    "Volume": ("channels", "dtype", "grid", "nbytes", "of", "read", "squeezed", "written"),
}  # of public classes, beside their fields


def plain(value):
    """A default as JSON, without the places of modules."""
    if is_dataclass(value):
        return {type(value).__name__: asdict(value)}
    return "VERSION" if value == limn.__version__ else value


def parameters(function):
    """Names of parameters in order, with `*`, and their defaults."""
    rows = inspect.signature(function).parameters.values()
    return [
        [("*" if row.kind is row.KEYWORD_ONLY else "") + row.name]
        + ([] if row.default is row.empty else [plain(row.default)])
        for row in rows
        if row.name not in ("self", "cls")
    ]


def fields_of(kind):
    """Names of fields in order, with `*` where only a keyword will do, and their defaults."""
    return [
        [("*" if field.kw_only else "") + field.name]
        + ([] if field.default is MISSING else [plain(field.default)])
        + ([] if field.default_factory is MISSING else [field.default_factory()])
        for field in fields(kind)
    ]


def public(name):
    """What there is to a public name."""
    thing = getattr(limn, name)
    if not isinstance(thing, type):
        return parameters(thing)
    if not is_dataclass(thing):
        return [base.__name__ for base in thing.__mro__]
    frozen = thing.__dataclass_params__.frozen
    members = {of: inspect.getattr_static(thing, of) for of in MEMBERS.get(name, ())}
    return {"frozen": frozen, "fields": fields_of(thing)} | {
        of: "property" if isinstance(member, property) else parameters(getattr(thing, of))
        for of, member in members.items()
    }


# ---- the command line -------------------------------------------------------------------------------------------------
def main(*arguments):
    """Run the command line as installed; its exit code, what it writes, and what it says on stderr."""
    [script] = {
        point.value: point for point in entry_points(group="console_scripts", name="napari-limn")
    }.values()
    with redirect_stdout(io.StringIO()) as out, redirect_stderr(io.StringIO()) as err:
        code = script.load()([str(argument) for argument in arguments])
    return code, out.getvalue(), err.getvalue()


def said(*arguments, code=0):
    """The JSON that a verb ends with, whatever it says besides."""
    got, out, err = main(*arguments, "--json", "--quiet")
    assert got == code, err
    return json.loads(out)


def option(action):
    """All that counts of an argument: not what the help says of it."""
    kind = getattr(action.type, "__name__", None)
    found = {
        "action": type(action).__name__.strip("_"), "type": kind, "nargs": action.nargs, "const": action.const,
        "choices": action.choices and list(action.choices), "required": (action.required and bool(action.option_strings)) or None,
        "default": str(action.default) if kind == "Path" and action.default else action.default,
    }  # fmt: skip
    return {key: value for key, value in found.items() if value is not None}


def verb(parser):
    """Arguments of a parser, those without a name by their number, and which exclude each other."""
    rows, number = {}, 0
    for action in parser._actions:
        number += not action.option_strings
        rows[" ".join(action.option_strings) or f"{number}"] = option(action)
    groups = [
        [a.option_strings[0] for a in group._group_actions] for group in parser._mutually_exclusive_groups
    ]
    return rows | {"exclusive": groups}


def shape(value):
    """Keys of JSON at every depth."""
    if isinstance(value, dict):
        return {key: shape(inner) for key, inner in value.items()}
    return list(map(shape, value[:1])) if isinstance(value, list) else ""


class Interrupted(io.StringIO):
    """A terminal at which Ctrl-C is pressed once, when something is written that matches."""

    def __init__(self, pattern):
        super().__init__()
        self.pattern = pattern

    def isatty(self):
        return True

    def write(self, text):
        if self.pattern and re.search(self.pattern, text):
            self.pattern = None
            raise KeyboardInterrupt
        return super().write(text)


# ---- files: models -----------------------------------------------------------------------------------------------------
def content(path):
    """A model file as PyTorch reads it, without pickled code."""
    torch = pytest.importorskip("torch")
    return torch.load(path, map_location="cpu", weights_only=True)


def described(path):
    """A model file without its numbers."""
    kept = content(path)
    weights = {name: [str(value.dtype), list(value.shape)] for name, value in kept.pop("weights").items()}
    return kept | {"weights": weights}


# ---- files: runs -------------------------------------------------------------------------------------------------------
def halves(shape):
    """An image whose right half is bright."""
    return np.where(np.indices(shape)[1] < shape[1] // 2, 40, 200).astype(np.uint8)


def begun(name, folder):
    """A run of before in a folder of its own: copies of its files, its journal of this version; the path of the output."""
    for path in OLD.glob(f"{name}.tif*"):
        (shutil.copytree if path.is_dir() else shutil.copy)(path, folder / path.name)
    journal = folder / f"{name}.tif.run.jsonl"
    journal.write_text(journal.read_text().replace('"version":"0.1.0"', f'"version":"{limn.__version__}"'))
    return folder / f"{name}.tif", journal


def rows(journal):
    return [json.loads(line) for line in journal.read_text().splitlines()]
