"""What a sweep is said to cost is what it does: planned without tensors, run with them."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_limn.inference.streaming.cost import most_alive, most_kept, planned_macs
from napari_limn.inference.streaming.schedule import SweepSchedule
from napari_limn.inference.streaming.sweep import Sweep
from napari_limn.network.folding import folded
from napari_limn.network.graph import Weight, graph_of, trace
from napari_limn.network.spec import PixelSpec, UNetSpec
from napari_limn.network.unet import UNet


def network_of(spec):
    """The network without data: it has shapes, and nothing is computed."""
    with torch.device("meta"):
        network = folded(UNet(spec))
    weights = dict(network.named_parameters()) | dict(network.named_buffers())
    return trace(network, spec.in_channels, graph_of(spec).traced), weights


def slices(spans):
    return tuple(slice(*span) for span in spans)


@st.composite
def sweeps(draw):
    """A network, the extent of an image, a block, and the window of a column, all on the network's stride."""
    ndim = draw(st.integers(2, 3))
    spec = UNetSpec(
        width=2, in_channels=draw(st.integers(1, 2)), factors=((2,) * ndim,) * draw(st.integers(1, 2)),
        skip=draw(st.sampled_from(["concat", "attention", "nested"])),
        up=draw(st.sampled_from(["transposed", "interpolate"])),
    )  # fmt: skip
    step = 2**spec.depth
    extent = tuple(step * draw(st.integers(1, 6)) for _ in range(ndim))
    block = tuple(step * draw(st.integers(1, 3)) for _ in range(ndim))
    window = []
    for n in extent:
        start = step * draw(st.integers(0, n // step - 1))
        window.append((start, draw(st.integers(start // step + 1, n // step)) * step))
    return spec, extent, block, tuple(window)


@given(case=sweeps(), part=st.floats(0, 0.99))
@settings(max_examples=15, deadline=None)
def test_a_sweep_reads_gives_computes_and_keeps_what_its_cost_says(case, part):
    spec, extent, block, window = case
    graph, weights = network_of(spec)
    schedule = SweepSchedule(graph, extent, block, window)  # of the graph alone
    sweep = Sweep(graph, weights, extent, block, window)
    read, kept, given_out = [], [], np.zeros(extent, int)

    def reading(spans):
        read.append(spans)
        kept.append(sweep.kept_values)  # between two blocks, when nothing of the new one is there
        return torch.zeros(1, spec.in_channels, *(b - a for a, b in spans), device="meta")

    for spans, _ in sweep.run(reading):
        given_out[slices(spans)] += 1
    assert read == list(schedule.reads())
    assert (given_out[slices(window)] == 1).all()
    assert given_out.sum() == given_out[slices(window)].size
    # a transposed convolution cut amid its stride computes a sample twice
    assert planned_macs(schedule) <= sweep.macs <= 1.2 * planned_macs(schedule)
    assert max(kept) <= most_kept(schedule) <= most_alive(schedule)
    assert sweep.kept_values == 0
    row = int(part * schedule.rows)
    read.clear()
    wanted = list(window_rows(schedule, row))
    given_again = [spans for spans, _ in sweep.run(reading, row)]
    assert read == list(schedule.reads(row))
    assert [spans for spans in given_again if spans in wanted] == wanted


def window_rows(schedule, row):
    """The blocks of the output from a row on, in their order."""
    last = len(schedule.stages) - 1
    for block, work in schedule.turns():
        if block[schedule.order[0]] >= row and work[last] is not None:
            yield work[last]


def test_the_rows_of_a_sweep_lie_across_its_longest_axis_and_fill_its_window():
    graph, _ = network_of(UNetSpec(width=2, factors=((2, 2),)))
    schedule = SweepSchedule(graph, (16, 40), (4, 8), ((4, 12), (0, 36)))
    assert schedule.order == [1, 0]
    assert schedule.rows == 5
    assert [box for _, box in schedule.row_boxes()] == [
        ((4, 12), (start, min(start + 8, 36))) for start in range(0, 40, 8)
    ]


def test_wider_blocks_of_a_number_cost_the_same_numbers_but_where_features_are_in_float32():
    plain, _ = network_of(UNetSpec(width=2, factors=((2, 2),)))
    pixels = UNetSpec(width=2, factors=((2, 2),), pixels=PixelSpec(scales=((1.0, 1.0),)))
    mixed, _ = network_of(pixels)
    for graph, same in ((plain, True), (mixed, False)):
        schedule = SweepSchedule(graph, (64, 64), (16, 16))
        assert (most_alive(schedule, 2) == most_alive(schedule, 4)) is same


def test_a_sweep_that_is_left_in_the_middle_begins_again_with_nothing_kept():
    graph, weights = network_of(UNetSpec(width=2, factors=((2, 2),)))
    sweep = Sweep(graph, weights, (32, 32), (8, 8))
    read = []

    def reading(spans):
        read.append(spans)
        return torch.zeros(1, 1, *(b - a for a, b in spans), device="meta")

    run = sweep.run(reading)
    for _ in range(5):
        next(run)
    run.close()
    read.clear()
    assert len(list(sweep.run(reading))) == 16
    assert read == list(sweep.schedule.reads())


@pytest.mark.parametrize("ndim", [2, 3])
def test_weights_in_a_graph_have_their_shape(ndim):
    graph, weights = network_of(UNetSpec(width=2, factors=((2,) * ndim,)))
    convolutions = [op.named()["weight"] for op in graph.ops if "conv" in op.name]
    assert convolutions
    assert all(isinstance(weight, Weight) for weight in convolutions)
    assert all(weight.shape == tuple(weights[weight.name].shape) for weight in convolutions)
