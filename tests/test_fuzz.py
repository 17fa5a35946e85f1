"""The fuzz helpers notice what they are there for."""

from __future__ import annotations

import json

import numpy as np
import pytest
from fuzz import Hangs, bounded, damaged, damaged_json, outcome

from napari_limn.errors import LimnError


def test_damage_is_the_same_for_one_seed_and_differs_between_seeds():
    original = bytes(range(256)) * 4
    copies = [damaged(original, seed) for seed in range(50)]
    assert copies == [damaged(original, seed) for seed in range(50)]
    assert len(set(copies)) > 40
    assert damaged(b"", 0) == b""


def test_json_is_changed_in_any_place():
    value = {"a": [1, {"b": "c"}], "d": None}
    copies = {repr(damaged_json(value, seed)) for seed in range(300)}
    assert len(copies) > 100
    assert json.dumps(value) == '{"a": [1, {"b": "c"}], "d": null}'  # the original stays


def test_a_call_that_does_not_end_and_one_that_grows_are_noticed():
    with pytest.raises(Hangs), bounded(seconds=0.1):
        sum(1 for _ in iter(int, 1))
    with pytest.raises(AssertionError, match="grew"), bounded(growth=1 << 20):
        np.ones(64 << 20, np.uint8).sum()


def test_an_answer_is_a_value_or_one_sentence():
    def refuse():
        raise LimnError("x: found 1, expected 2.")

    assert outcome(lambda: 1) == "read"
    assert outcome(refuse) == "x: found 1, expected 2."
    with pytest.raises(KeyError):
        outcome(lambda: {}[1])
