"""One budget: what a prediction may use, what the output and the runtime take of it, and the plan that is left."""

from __future__ import annotations

import re

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_limn.errors import LimnError
from napari_limn.inference.planning import memory as memory_module
from napari_limn.inference.planning.memory import MemoryBudget, memory_limit
from napari_limn.inference.planning.plan import choose_plan
from napari_limn.network.spec import UNetSpec

CPU = torch.device("cpu")
SPEC, GRID = UNetSpec(width=4, factors=((2, 2),) * 2), (1, 3, 500, 700)
MOST = choose_plan(SPEC, GRID, 1 << 50).peak_bytes


def of_block(plan):
    """An output that holds more, the larger the blocks are."""
    return 40 * plan.block[2] * plan.block[3]


@given(
    limit=st.integers(MOST // 2, 2 * MOST),
    runtime=st.integers(0, MOST),
    output=st.sampled_from([lambda plan: 0, lambda plan: 30_000_000, of_block]),
    itemsize=st.sampled_from([2, 4]),
)
@settings(max_examples=8, deadline=None)
def test_computing_output_and_runtime_fit_into_the_limit_together(limit, runtime, output, itemsize):
    memory = MemoryBudget(limit, output, runtime)
    try:
        plan = memory.plan(SPEC, GRID, itemsize)
    except LimnError as error:
        found, needed = (float(n) for n in re.findall(r"([\d.]+) GB", str(error)))
        assert needed >= found
        return
    assert plan.limit == limit
    assert plan.peak_bytes + runtime <= limit
    own = choose_plan(SPEC, GRID, plan.peak_bytes - output(plan), itemsize)
    assert own.peak_bytes + output(plan) == plan.peak_bytes
    assert (own.block, own.column, own.swept) == (plan.block, plan.column, plan.swept)


def test_what_output_and_runtime_take_makes_blocks_smaller_until_none_fit():
    limit = MOST + 1_000_000
    alone = MemoryBudget(limit, lambda plan: 0).plan(SPEC, GRID)
    for memory in (
        MemoryBudget(limit, lambda plan: 5_000_000),
        MemoryBudget(limit, lambda plan: 0, 5_000_000),
    ):
        assert memory.plan(SPEC, GRID).block < alone.block
        with pytest.raises(LimnError, match="the smallest block of this network needs"):
            memory.lowered(6_000_000).plan(SPEC, GRID)


def test_a_lower_limit_leaves_the_rest():
    memory = MemoryBudget(10**9, of_block, 7)
    assert memory.lowered(5) == MemoryBudget(5, of_block, 7)
    assert memory.limit == 10**9


def test_a_limit_is_what_the_user_says_or_half_of_what_is_free_up_to_4_gb(monkeypatch):
    assert memory_limit("2GB", CPU) == memory_limit(2_000_000_000, CPU) == 2_000_000_000
    for free, expected in ((2 * 10**9, 10**9), (500 * 10**9, 4 * 10**9)):
        monkeypatch.setattr(memory_module, "free_memory", lambda device, free=free: free)
        assert memory_limit(None, CPU) == expected
