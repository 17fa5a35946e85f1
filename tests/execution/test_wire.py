"""Events as they travel: every class survives the way to another machine."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
import typing
from dataclasses import dataclass, fields
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import napari_limn.events as events
from napari_limn.annotation.findings import Action, Finding, FindingKind, Remedy
from napari_limn.errors import LimnError
from napari_limn.events import (
    BlockDone,
    Event,
    Found,
    ImageBegun,
    ImageDone,
    Improved,
    Noted,
    Planned,
    Repainted,
    Scored,
    Step,
    Viewing,
    Waiting,
    Warned,
    Working,
    Writing,
)  # fmt: skip
from napari_limn.execution.wire import Receiver, Sender, from_wire, to_wire
from napari_limn.volume.boxes import blocks, slices, whole
from napari_limn.volume.volume import Volume
from napari_limn.volume.writing.view import LevelView, OutputView

PACKAGE = Path(events.__file__).parent
QUICK = settings(deadline=None, max_examples=25)

text = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)
share = st.floats(0, 1)
number = st.floats(allow_nan=False)
count = st.integers(0, 10**9)
grid = st.tuples(*[st.integers(1, 10**6)] * 4)
remedies = st.builds(
    Remedy,
    action=st.sampled_from(typing.get_args(Action)),
    value=st.none() | st.integers(0, 300),
    place=st.none() | grid,
    axes=st.none() | st.sampled_from(["ZYX", "TYX"]),
)
findings = st.builds(
    Finding,
    kind=st.sampled_from(typing.get_args(FindingKind)),
    stops=st.booleans(),
    sentence=text,
    remedies=st.lists(remedies, max_size=3).map(tuple),
)
boxes = st.lists(st.tuples(count, count), min_size=4, max_size=4).map(tuple)
views = st.builds(
    OutputView,
    file=text,
    folder=st.sampled_from([".", "labels/classes"]),
    names=st.sampled_from(["YX", "ZYX", "TZYX"]),
    dtype=st.sampled_from(["uint8", "uint16", "uint32"]),
    geometry=st.lists(st.builds(LevelView, grid, grid), min_size=1, max_size=4).map(tuple),
)


@st.composite
def plans(draw):
    from napari_limn.inference.planning.plan import Plan

    given_ = {f.name for f in fields(Plan)}
    values = {
        "grid": draw(grid), "block": draw(grid), "halo": draw(grid), "blocks": draw(count), "peak_bytes": draw(count),
        "limit": draw(count), "work": draw(st.floats(1, 100)), "exact": draw(st.booleans()), "swept": draw(st.booleans()),
        "tile": draw(st.none() | grid), "column": draw(st.none() | grid), "seconds": draw(st.none() | st.floats(0, 1e6)),
    }  # fmt: skip
    return Plan(**{name: value for name, value in values.items() if name in given_})


@cache
def a_model(values, seed):
    import torch

    from napari_limn.annotation.classes import Classes
    from napari_limn.model import Model, ModelSpec
    from napari_limn.network.spec import UNetSpec
    from napari_limn.network.unet import UNet

    torch.manual_seed(seed)
    spec = ModelSpec(
        network=UNetSpec(out_channels=len(values), width=2, factors=((2, 2),)), classes=Classes(values)
    )
    return Model(spec, UNet(spec.network).eval())


models = st.builds(a_model, st.sampled_from([(1, 2), (3, 5, 9)]), st.integers(0, 2))
arrays = st.builds(
    lambda shape, dtype, seed: np.random.default_rng(seed).integers(0, 3, shape).astype(dtype) * (seed % 2),
    st.lists(st.integers(1, 6), min_size=2, max_size=4).map(tuple),
    st.sampled_from([np.uint8, np.uint16, ">u2"]),
    st.integers(0, 9),
)

MADE = {
    BlockDone: st.builds(BlockDone, boxes, count, count, number),
    Found: st.builds(Found, text, findings),
    ImageBegun: st.builds(ImageBegun, text, count, count),
    ImageDone: st.builds(
        ImageDone, text, text, count, count, st.sampled_from(["done", "kept", "failed"]), text, number
    ),
    Improved: st.builds(Improved, models),
    Repainted: st.builds(Repainted, st.booleans()),
    Noted: st.builds(Noted, text),
    Planned: st.builds(Planned, plans()),
    Scored: st.builds(Scored, count, number, share, st.booleans()),
    Step: st.builds(Step, count, number, number, share),
    Viewing: st.builds(Viewing, arrays),
    Waiting: st.builds(Waiting, text),
    Warned: st.builds(Warned, text),
    Working: st.builds(Working),
    Writing: st.builds(Writing, views),
}


def sent(event):
    """The event after its way through text and bytes."""
    header, body = to_wire(event)
    assert body is None or isinstance(body, bytes)
    return from_wire(json.loads(json.dumps(header, allow_nan=False)), body)


def same(one, other):
    """Whether a listener can do the same with both."""
    assert type(one) is type(other)
    match one:
        case Viewing(array=array):
            return np.array_equal(array, other.array) and array.dtype == other.array.dtype
        case Improved(model=model):
            return model.digest == other.model.digest and model.spec == other.model.spec
    return one == other


def all_events(sources):
    """Names of every class that derives from an event in these sources, however deep."""
    bases = {
        node.name: {ast.unparse(base).rpartition(".")[2] for base in node.bases}
        for source in sources
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.ClassDef)
    }
    known = {"Event"}
    while more := {name for name, of in bases.items() if of & known} - known:
        known |= more
    return known - {"Event"}


@pytest.mark.parametrize("kind", sorted(MADE, key=lambda kind: kind.__name__))
@given(data=st.data())
@settings(QUICK)
def test_every_event_survives_the_way(kind, data):
    event = data.draw(MADE[kind])
    assert same(event, sent(event))
    assert same(event, sent(sent(event)))  # and may be handed on


def test_no_class_of_events_is_without_a_form():
    """Whoever adds an event, in any room, gives it a form in wire.py and a strategy above."""
    names = {kind.__name__ for kind in MADE}
    assert all_events(path.read_text(encoding="utf-8") for path in PACKAGE.rglob("*.py")) == names
    assert set(events.__all__) - {"Event", "drain"} == names
    assert all(getattr(events, name) in MADE for name in names)


def test_a_class_of_events_is_seen_wherever_it_is_defined():
    sources = [
        "class Sneezed(runs.Event): pass",
        "def f():\n class Louder(Sneezed, Other): pass",
        "class Other: pass",
    ]
    assert all_events(sources) == {"Sneezed", "Louder"}


@pytest.mark.parametrize("kind", sorted(MADE, key=lambda kind: kind.__name__))
@given(data=st.data())
@settings(QUICK)
def test_each_field_of_an_event_arrives_by_its_name(kind, data):
    """A field with a default, which no strategy would have to give, is not lost either."""
    event = data.draw(MADE[kind])
    header, _ = to_wire(event)
    if kind not in (Improved, Viewing):  # whose fields travel as bytes
        assert set(header) == {"event", *(f.name for f in fields(kind))}


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_a_loss_that_is_no_number_arrives_as_it_is(value):
    arrived = sent(Step(1, 0.5, value, 0.1))
    assert np.array_equal(arrived.loss, value, equal_nan=True)


def test_what_has_no_form_is_refused_by_name():
    @dataclass(frozen=True, slots=True)
    class Sneezed(Event):
        loud: bool

    with pytest.raises(
        LimnError,
        match=r"found the event 'Sneezed', expected one of BlockDone, Found, .*Writing; use the same version",
    ):
        to_wire(Sneezed(loud=True))
    for header in (
        {"event": "Sneezed"},
        {"event": "__class__"},
        {"event": ["Step"]},
        {},
        None,
        3,
        [],
        "Step",
    ):
        with pytest.raises(LimnError, match="found the event .*expected one of"):
            from_wire(header)


@pytest.mark.parametrize(
    ("header", "body", "match"),
    [
        ({"event": "Step", "step": 1}, None, "Step: key done, loss, seconds is missing"),
        ({"event": "Warned", "message": 3}, None, r"Warned.message: found 3, expected a text"),
        ({"event": "Warned", "message": "a", "more": 1}, None, "Warned: found unknown key more"),
        ({"event": "Step", "step": 1, "seconds": "soon", "loss": 1.0, "done": 0.5}, None, "Step.seconds: found 'soon'"),
        ({"event": "Writing"}, None, "Writing: found an event that is incomplete or damaged"),
        ({"event": "Planned", "plan": []}, None, "Plan: found list"),
        ({"event": "Improved", "sha256": "0"}, None, "found a file that is cut off or of another kind"),
        ({"event": "Improved", "sha256": "0"}, b"\x00" * 64, "found a file that is cut off or of another kind"),
        ({"event": "Viewing", "shape": [2, 2], "dtype": "|u1"}, b"no", "Viewing: found an event that is .*damaged"),
        ({"event": "Viewing", "shape": [-2, 2], "dtype": "|u1"}, None, "Viewing: found an event"),
        ({"event": "Viewing", "shape": [2, 2], "dtype": "|O"}, None, "Viewing: found an event"),
        ({"event": "Viewing", "shape": 3, "dtype": "|u1"}, None, "Viewing: found an event"),
    ],
)  # fmt: skip
def test_what_is_damaged_is_refused_in_one_sentence(header, body, match):
    with pytest.raises(LimnError, match=match):
        from_wire(header, body)


def test_a_model_that_is_not_the_one_of_its_header_is_refused():
    header, _ = to_wire(Improved(a_model((1, 2), 0)))
    _, other = to_wire(Improved(a_model((1, 2), 1)))
    with pytest.raises(LimnError, match="another model than the header says"):
        from_wire(header, other)


def test_an_array_does_not_grow_beyond_what_it_says():
    header, body = to_wire(Viewing(np.ones((100, 100), np.uint8)))
    with pytest.raises(LimnError, match="Viewing"):
        from_wire(header | {"shape": [10, 10]}, body)


@pytest.mark.parametrize("name", ["a.ome.zarr", "a.tif"])
def test_an_output_can_be_watched_from_elsewhere_while_it_is_written(tmp_path, name):
    from napari_limn.volume.writing.output import create_output, plan_output

    image = Volume.of(np.zeros((6, 700, 900), np.uint8), "ZYX")
    path = tmp_path / name
    output = create_output(plan_output(path, image, "uint8", (1, 1, 256, 256)), path, image, {}, {})
    arrived = sent(Writing(output)).output
    assert arrived.path == output.path
    assert [(level.shape, level.dtype, level.chunks) for level in arrived.levels] == [
        (level.shape, level.dtype, level.chunks) for level in output.levels
    ]
    assert not np.asarray(arrived.levels[0]).any()
    truth = np.random.default_rng(0).integers(1, 200, (1, 6, 700, 900)).astype(np.uint8)
    for box in blocks(truth.shape, output.layout.levels[0].shard):
        output.write(box, truth[slices(box)])
        assert np.array_equal(arrived.levels[0].read(box), truth[slices(box)])
    assert all(np.array_equal(one, other) for one, other in zip(arrived.levels, output.levels, strict=True))
    output.finish()
    assert np.array_equal(np.asarray(arrived.levels[0]), truth[0])
    assert np.array_equal(arrived.levels[0][2, 100:200], truth[0, 2, 100:200])


def test_a_view_of_labels_with_time_and_depth_in_another_order(tmp_path):
    from napari_limn.volume.writing.output import create_output, plan_output

    image = Volume.of(np.zeros((40, 3, 50), np.uint8), "YTX")
    path = tmp_path / "a.ome.zarr"
    output = create_output(plan_output(path, image, "uint8", (1, 1, 64, 64)), path, image, {}, {})
    arrived = sent(Writing(output)).output
    truth = np.random.default_rng(0).integers(1, 9, (3, 1, 40, 50)).astype(np.uint8)
    output.write(whole(truth.shape), truth)
    assert arrived.levels[0].shape == (40, 3, 50)
    assert np.array_equal(np.asarray(arrived.levels[0]), truth[:, 0].transpose(1, 0, 2))
    assert np.array_equal(np.asarray(arrived.levels[0]), np.asarray(output.levels[0]))


def test_an_output_that_is_not_on_a_disk_here_says_so():
    view = OutputView("/nowhere/a.tif", ".", "YX", "uint8", (LevelView((1, 1, 4, 4), (1, 1, 4, 4)),))
    assert view.levels[0].shape == (4, 4)
    with pytest.raises(LimnError, match=r"a.tif: found neither the output.*a disk that both computers see"):
        np.asarray(view.levels[0])


def through(sender, receiver, event):
    header, body = sender.send(event)
    return receiver.receive(json.loads(json.dumps(header)), body)


@pytest.mark.parametrize(("names", "shape"), [("YX", (5, 7)), ("ZYX", (3, 5, 7)), ("YTX", (5, 3, 7))])
def test_what_is_predicted_for_the_view_follows_block_by_block(names, shape):
    here = np.zeros(shape, np.uint16)
    sender, receiver = Sender(names), Receiver(names)
    assert (
        through(sender, receiver, BlockDone(((0, 1),) * 4, 1, 2, 0.1)).done == 1
    )  # of a file: nothing follows
    there = through(sender, receiver, Viewing(here)).array
    rng, sizes = np.random.default_rng(3), dict(zip(names, shape, strict=True))
    for number, box in enumerate(blocks([sizes.get(a, 1) for a in "TZYX"], (1, 2, 4, 4))):
        at = tuple(dict(zip("TZYX", slices(box), strict=True))[a] for a in names)
        here[at] = rng.integers(0, 500, here[at].shape)
        event = through(sender, receiver, BlockDone(box, number, 9, 0.1))
        assert event == BlockDone(box, number, 9, 0.1)
        assert np.array_equal(here, there)
    other = through(sender, receiver, Viewing(here)).array  # what is there already comes with it
    assert np.array_equal(here, other)


def test_a_block_that_does_not_fit_the_view_is_refused():
    header, _ = to_wire(BlockDone(((0, 1), (0, 1), (0, 2), (0, 2)), 1, 1, 0.0))
    receiver = Receiver("YX")
    with pytest.raises(LimnError, match="expected the view first"):
        receiver.receive(header, b"x")
    receiver.receive(*to_wire(Viewing(np.zeros((3, 3), np.uint8))))
    with pytest.raises(LimnError, match="found labels that do not fit"):
        receiver.receive(header, b"x")
    sender = Sender("YX")
    sender.send(Viewing(np.ones((9, 9), np.uint8)))
    with pytest.raises(LimnError, match="leave the view of extent"):
        receiver.receive(*sender.send(BlockDone(((0, 1), (0, 1), (0, 5), (0, 5)), 1, 1, 0.0)))


def test_a_view_too_large_for_memory_arrives_as_one_that_grows():
    arrived = from_wire({"event": "Viewing", "shape": [10**5, 10**6, 10**6], "dtype": "|u1"}).array
    assert arrived.shape == (10**5, 10**6, 10**6)
    arrived[7, 5:9, 5:9] = 3
    assert np.asarray(arrived[7, 0:10, 0:10]).sum() == 3 * 16


def test_listening_needs_no_torch():
    code = "from napari_limn.execution.wire import from_wire; import sys; from_wire({'event': 'Working'}); print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout.strip() == "False"


def test_a_whole_training_arrives_as_it_was_sent():
    from napari_limn import TrainSpec, samples, training_events
    from napari_limn.network.spec import UNetSpec

    spec = TrainSpec(
        steps=2, batch=1, patch=(16, 16), device="cpu", network=UNetSpec(width=2, factors=((2, 2),))
    )
    kinds = set()
    for event in training_events(samples.PAINTED.image, samples.PAINTED.strokes, spec):
        assert same(event, sent(event))
        kinds.add(type(event).__name__)
    assert {"Step", "Improved"} <= kinds
