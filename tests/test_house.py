"""How the house is built: sizes of functions, files and folders, and a contract for every room."""

from __future__ import annotations

import ast
import re
import statistics
import tomllib
from collections import Counter, defaultdict
from itertools import chain
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SRC = ROOT / "src"
MODULES = sorted((SRC / "napari_limn").rglob("*.py"))
MOST_LINES = {"of a function": 60, "of 95 % of functions": 35, "of half of them": 8, "of a file": 400}
MOST_FILES = 12  # in a folder, beside __init__.py

LINTER = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["importlinter"]


def functions():
    """Every function of the package, and how many lines it has."""
    for path in MODULES:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
                name = f"{path.relative_to(SRC)}:{node.lineno} {node.name}"
                yield name, node.end_lineno - node.lineno + 1


def test_functions_fit_a_screen():
    lines = dict(functions())
    sizes = sorted(lines.values())
    assert {name: size for name, size in lines.items() if size > MOST_LINES["of a function"]} == {}
    assert sizes[int(0.95 * len(sizes))] <= MOST_LINES["of 95 % of functions"]
    assert statistics.median(sizes) <= MOST_LINES["of half of them"]


def test_files_and_folders_are_small():
    lines = {str(path): path.read_text(encoding="utf-8").count("\n") for path in MODULES}
    assert {path: count for path, count in lines.items() if count > MOST_LINES["of a file"]} == {}
    files = Counter(str(path.parent) for path in MODULES if path.name != "__init__.py")
    assert {folder: count for folder, count in files.items() if count > MOST_FILES} == {}


# ---- contracts ------------------------------------------------------------------------------------------------------
def rooms() -> dict[str, set[str]]:
    """What lies in each package, by their dotted names."""
    inside = defaultdict(set)
    for path in MODULES:
        parts = path.relative_to(SRC).with_suffix("").parts
        name = parts[:-1] if parts[-1] == "__init__" else parts
        if len(name) > 1 and not name[-1].startswith("__"):
            inside[".".join(name[:-1])].add(".".join(name))
    return dict(inside)


def layered(contracts) -> Counter[str]:
    """How often the stacks of contracts name each module."""
    stacks = chain.from_iterable(one["layers"] for one in contracts if one["type"] == "layers")
    return Counter(re.split(r"\s*[|:]\s*", " | ".join(stacks)))


def without_contract(inside: dict[str, set[str]], contracts) -> set[str]:
    """Modules and rooms that no stack names, of rooms that hold others or have a stack.

    Rooms of modules alone may do without one: that there is no circle is said of all.
    """
    named = layered(contracts)
    return {
        child
        for room, children in inside.items()
        if any(child in inside or child in named for child in children)
        for child in children - {name for name, count in named.items() if count == 1}
    }


def test_every_room_is_in_one_stack():
    assert without_contract(rooms(), LINTER["contracts"]) == set()
    assert set(layered(LINTER["contracts"])) <= set(chain.from_iterable(rooms().values()))


def test_imports_for_types_count_and_circles_are_refused_everywhere():
    assert LINTER["exclude_type_checking_imports"] is False
    assert not any("ignore_imports" in one for one in LINTER["contracts"])
    circles = [one["ancestors"] for one in LINTER["contracts"] if one["type"] == "acyclic_siblings"]
    assert circles == [["napari_limn", "napari_limn.**"]]


def test_every_room_but_the_window_is_kept_from_napari():
    only = next(one for one in LINTER["contracts"] if "napari" in one.get("forbidden_modules", ()))
    assert set(only["source_modules"]) == rooms()["napari_limn"] - {"napari_limn._napari"}


@pytest.mark.parametrize(
    "new", ["napari_limn.inference.cluster", "napari_limn.cli.serve", "napari_limn.remote"]
)
def test_a_new_room_without_a_contract_is_noticed(new):
    inside = rooms()
    inside[new.rpartition(".")[0]].add(new)
    inside[new] = {f"{new}.client"}
    assert without_contract(inside, LINTER["contracts"]) == {new}
