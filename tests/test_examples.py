"""Examples in docstrings give what they say."""

from __future__ import annotations

import doctest
import pkgutil
from importlib import import_module

import pytest

import napari_limn

MODULES = [
    found.name
    for found in pkgutil.walk_packages(napari_limn.__path__, "napari_limn.")
    if not found.name.startswith("napari_limn._napari") and not found.name.endswith("__main__")
]


@pytest.mark.parametrize("name", MODULES)
def test_examples_give_what_they_say(name):
    assert doctest.testmod(import_module(name)).failed == 0


def test_the_modules_have_examples():
    finder = doctest.DocTestFinder(exclude_empty=True)
    with_examples = [
        name for name in MODULES if any(test.examples for test in finder.find(import_module(name)))
    ]
    assert len(with_examples) > 20
