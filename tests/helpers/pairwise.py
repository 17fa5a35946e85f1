"""Products of parameters: a small cover for every run, all rows for the exhaustive one."""

from __future__ import annotations

from itertools import combinations, product
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterable

Row = tuple[int, ...]


def cover(sizes: Iterable[int], strength: int = 2) -> list[Row]:
    """Choose rows of indices so that every combination of `strength` values is in one of them.

    Greedy and in a fixed order: the row that adds most, among those the one whose values were chosen least so far.
    """
    rows = list(product(*map(range, sizes)))
    columns = list(combinations(range(len(rows[0])), min(strength, len(rows[0]))))
    parts = {row: {(at, tuple(row[i] for i in at)) for at in columns} for row in rows}
    missing = set().union(*parts.values())
    used, chosen = [[0] * (max(column) + 1) for column in zip(*rows, strict=True)], []
    while missing:
        often = [sum(counts[i] for counts, i in zip(used, row, strict=True)) for row in rows]
        added = [len(parts[row] & missing) for row in rows]
        best = rows[max(range(len(rows)), key=lambda at: (added[at], -often[at]))]
        missing -= parts[best]
        chosen.append(best)
        for counts, i in zip(used, best, strict=True):
            counts[i] += 1
    return chosen


def pairwise(*, strength: int = 2, most: int | None = None, **choices: Iterable[Any]) -> pytest.MarkDecorator:
    """Parametrize a test with a product: the cover always, the other rows with LIMN_EXHAUSTIVE=1.

    With `strength=1` every value is in one row of the cover, with 2 every pair of values, with 3 every triple.
    `most` is the strength of the exhaustive run, where the whole product would take too long.
    """
    values = [list(each) for each in choices.values()]
    sizes = [len(each) for each in values]
    always = cover(sizes, strength)
    more = product(*map(range, sizes)) if most is None else cover(sizes, most)
    rows = [
        pytest.param(
            *(column[i] for column, i in zip(values, row, strict=True)),
            marks=() if row in always else pytest.mark.exhaustive,
        )
        for row in sorted({*always, *more})
    ]
    return pytest.mark.parametrize(",".join(choices), rows)
