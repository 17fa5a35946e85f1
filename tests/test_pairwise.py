"""The cover of a product: every pair of values is there, few rows are, and always the same ones."""

from __future__ import annotations

import os
from itertools import combinations, product

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pairwise import cover, pairwise


@given(st.lists(st.integers(1, 4), min_size=1, max_size=4), st.integers(1, 3))
def test_every_combination_of_values_is_in_the_cover(sizes, strength):
    rows = cover(sizes, strength)
    for columns in combinations(range(len(sizes)), min(strength, len(sizes))):
        found = {tuple(row[i] for i in columns) for row in rows}
        assert found == set(product(*(range(sizes[i]) for i in columns)))
    assert rows == cover(sizes, strength)
    assert len(set(rows)) == len(rows)


def test_a_cover_is_small_and_uses_values_alike():
    assert len(cover((2, 3, 2, 3, 4))) <= 15
    assert len(cover((9, 2), strength=1)) == 9
    assert sorted(i for _, i in cover((9, 2), strength=1)) == [0] * 5 + [1] * 4


def test_all_rows_are_there_and_those_beyond_the_cover_are_marked():
    mark = pairwise(a=range(3), b="xyz", c=[False, True]).mark
    names, rows = mark.args
    assert names == "a,b,c"
    assert [row.values for row in rows] == list(product(range(3), "xyz", [False, True]))
    marked = [row for row in rows if row.marks]
    assert len(rows) - len(marked) == len(cover((3, 3, 2)))
    assert {mark.name for row in marked for mark in row.marks} == {"exhaustive"}


def test_the_exhaustive_run_may_have_a_cover_of_higher_strength_too():
    rows = pairwise(most=3, a=range(3), b=range(3), c=range(3), d=range(3)).mark.args[1]
    assert {row.values for row in rows} == {*cover([3] * 4, 2), *cover([3] * 4, 3)}
    assert {row.values for row in rows if not row.marks} == set(cover([3] * 4, 2))
    assert len(rows) < 81


@pairwise(strength=1, letter="ab", number=[1, 2])
def test_it_parametrizes(letter, number):
    assert letter in "ab"
    assert number in (1, 2)


@pytest.mark.exhaustive
def test_this_runs_in_the_exhaustive_environment_alone():
    assert os.environ["LIMN_EXHAUSTIVE"] != "0"
