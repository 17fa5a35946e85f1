"""Names in the source: one meaning each, and the words of the project's glossary."""

from __future__ import annotations

import ast
import re
from collections import defaultdict
from functools import cache
from pathlib import Path

import pytest

SRC = Path(__file__).parents[1] / "src" / "napari_limn"
MOST_WORDS = 12  # of the first line of a docstring

SEVERAL = {
    "main": "each is started as a program of its own",
}
"""Public names that may stand for several things, and why."""

NOT_WORDS = {
    "Ahead": "Prefetch", "Follower": "LayerRefresher", "Known": "FeatureCache", "Lesson": "FitTargets", "Look": "LayerCheck",
    "Offer": "RecoveryOffer", "Painted": "StrokePiece or LabelledImages", "Rows": "TileFeatures", "Shelf": "ModelRegistry",
    "SHELF": "a model registry in the session", "amiss": "differs", "by_turns": "interleaved", "doubts": "spacing_warnings", "echo": "pseudo-label",
    "feet": "footprints", "found": "result, or what it is", "guessing": "pseudo_labels", "heard": "on_event", "homes": "destination",
    "mend": "fix", "parted": "separated", "person": "user", "ripe": "mature", "strayed": "out_of_order", "teaching": "fit_classifier",
    "told": "undoable_in_layer, or reported", "twin": "held-out classifier", "unseen": "forgotten_classes", "worth_knowing": "warnings_for",
}  # fmt: skip
"""Words that are no names here, whatever they would stand for, and what to say instead."""

NOT_DEFINED = {
    "Boxes": "SideBySide", "Move": "AxisMap", "Zero": "ZeroMeaning", "age": "maturity", "called": "with_legend",
    "drawing": "sample_voxels", "ended": "on_result", "failed": "on_error", "flow": "concurrency", "gather": "collect_training_data",
    "green": "immature", "mirror": "reflect", "moves": "intervals", "sampled": "sample_values", "windows": "sample_boxes",
}  # fmt: skip
"""Words that may be variables, but name no function, class, method or module."""

NOT_AT_THE_TOP = {"begin": "initial_model"}
"""Verbs that may be methods, but name no module, nor a function of one."""

NOT_SAID = re.compile(
    r"\b(persons?|whoever|somebody|someone|amiss|mend(s|ed|ing)?|parted|told|strayed|ripe|feet|guessing|twins?|echo(es)?|"
    r"by turns|heard|shelf|shelves|homes|teaching)\b",
    re.IGNORECASE,
)
"""Words that no comment, docstring or sentence has: user, fix, differs, separated, reported, footprints ... are said instead."""


@cache
def parsed() -> dict[str, ast.Module]:
    """Every module of the package by its path."""
    return {
        str(path.relative_to(SRC)): ast.parse(path.read_text(encoding="utf-8"))
        for path in sorted(SRC.rglob("*.py"))
    }


def defined(module: ast.Module):
    """Classes, functions and type aliases that a module defines at its top."""
    for node in module.body:
        match node:
            case ast.ClassDef(name=name) | ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name):
                yield name
            case ast.Assign(targets=[ast.Name(id=name)], value=ast.Subscript() | ast.BinOp()) if (
                name[0].isupper() and not name.isupper()
            ):
                yield name


def identifiers(module: ast.Module):
    """Every name in a module, and the line that it stands in."""
    for node in ast.walk(module):
        match node:
            case ast.Name(id=name) | ast.arg(arg=name) | ast.Attribute(attr=name):
                yield name, node.lineno
            case ast.keyword(arg=str(name)):
                yield name, node.value.lineno
            case ast.ClassDef(name=name) | ast.FunctionDef(name=name) | ast.alias(asname=str(name)):
                yield name, node.lineno


def test_a_public_name_means_one_thing():
    places = defaultdict(list)
    for path, module in parsed().items():
        for name in set(defined(module)):
            if not name.startswith("_") and name not in SEVERAL:
                places[name].append(path)
    assert {name: paths for name, paths in places.items() if len(paths) > 1} == {}


def test_words_of_old_are_no_names():
    found = [
        f"{path}:{line}: {name}, say {NOT_WORDS[name.strip('_')]}"
        for path, module in parsed().items()
        for name, line in identifiers(module)
        if name.strip("_") in NOT_WORDS
    ]
    assert found == []


def test_words_of_old_name_no_function_class_or_module():
    found = [
        f"{path}:{node.lineno}: {node.name}, say {NOT_DEFINED[node.name.strip('_')]}"
        for path, module in parsed().items()
        for node in (
            *module.body,
            *(inner for outer in module.body if isinstance(outer, ast.ClassDef) for inner in outer.body),
        )
        if isinstance(node, (ast.ClassDef, ast.FunctionDef)) and node.name.strip("_") in NOT_DEFINED
    ]
    stems = {Path(path).stem: path for path in parsed()}
    found += [
        f"{stems[word]}, say {say}"
        for word, say in {**NOT_WORDS, **NOT_DEFINED, **NOT_AT_THE_TOP}.items()
        if word in stems
    ]
    found += [
        f"{path}: {name}, say {NOT_AT_THE_TOP[name.strip('_')]}"
        for path, module in parsed().items()
        for name in defined(module)
        if name.strip("_") in NOT_AT_THE_TOP
    ]
    assert found == []


def test_words_of_old_are_not_said():
    """In comments, docstrings and the sentences that users read."""
    said = [
        f"{path}:{number}: {hit[0]}"
        for path in parsed()
        for number, line in enumerate((SRC / path).read_text(encoding="utf-8").splitlines(), 1)
        if (hit := NOT_SAID.search(line))
    ]
    assert said == []


def first_lines():
    """First line of every docstring, and where it stands."""
    for path, module in parsed().items():
        for node in ast.walk(module):
            if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)) and (
                text := ast.get_docstring(node)
            ):
                yield f"{path}:{getattr(node, 'lineno', 1)}", text.splitlines()[0]


def test_the_first_line_of_a_docstring_is_short():
    assert [f"{place}: {line}" for place, line in first_lines() if len(line.split()) > MOST_WORDS] == []


def test_the_words_are_no_words_of_the_list_on_the_other_side():
    """So that nobody is sent from one old word to another."""
    for word, say in {**NOT_WORDS, **NOT_DEFINED}.items():
        assert not set(say.replace(",", "").split()) & {*NOT_WORDS, *NOT_DEFINED}, word


@pytest.mark.parametrize(
    "source",
    ["def told(): pass", "x = told", "f(told=1)", "a.told", "class _Told_: told = 1", "def f(told): pass"],
)
def test_identifiers_are_seen_wherever_they_stand(source):
    assert "told" in {name for name, _ in identifiers(ast.parse(source))}
