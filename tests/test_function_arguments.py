"""A wrong argument of a public function is answered at once, with the name of the argument or of what is wrong in it."""

from __future__ import annotations

import os
import re
from collections import OrderedDict
from pathlib import Path

import numpy as np
import pytest
import torch

import napari_limn as limn
from napari_limn import Classes, LimnError, Model, ModelSpec, PredictSpec, TrainSpec, UNetSpec, Volume, events
from napari_limn.arguments import checked
from napari_limn.network.unet import UNet
from napari_limn.training import trainer
from napari_limn.volume.axes import Axes
from napari_limn.volume.writing.array_output import in_memory

NETWORK = UNetSpec(width=2, factors=((2, 2),))
SPEC = ModelSpec(network=NETWORK, classes=Classes((1, 2)))
IMAGE = np.zeros((16, 16), np.uint8)
STROKES = np.zeros((16, 16), np.uint8)
STROKES[2], STROKES[12] = 1, 2
NOTHING = object()
_ADDRESS = re.compile(r" at 0x[0-9a-f]+")


def shown(value):
    """A name for a case, the same in every process."""
    return getattr(value, "__qualname__", None) or _ADDRESS.sub("", " ".join(str(value).split()))[:60]


EMPTY = np.zeros((0, 4), np.uint8)
MODEL = Model(SPEC, UNet(NETWORK))

TRAIN = [
    {"spec": 5}, {"spec": {"steps": 2}}, {"spec": PredictSpec()}, {"spec": "fast"}, {"spec": TrainSpec}, {"model": "a.limn"}, {"model": 1},
    {"model": Model}, {"model": SPEC}, {"colors": 1}, {"colors": ["red"]}, {"colors": {1: "red"}}, {"colors": {"a": (1, 1, 1, 1)}},
    {"colors": {1: (1, 1, 1)}}, {"colors": {1: (1, 1, 1, None)}}, {"colors": {True: (1, 1, 1, 1)}}, {"names": "a"}, {"names": {1: 2}},
    {"names": {1.5: "a"}}, {"names": [(1, "a")]},
]  # fmt: skip
PREDICT = [
    {"model": None}, {"model": 1}, {"model": SPEC}, {"model": [MODEL]}, {"model": UNet}, {"out": 5}, {"out": True}, {"out": IMAGE}, {"out": NOTHING},
    {"out": b"a.tif"}, {"spec": {}}, {"spec": TrainSpec()}, {"spec": "2GB"}, {"spec": PredictSpec}, {"overwrite": 1}, {"overwrite": "yes"}, {"overwrite": None},
]  # fmt: skip
LISTENERS = [{"listen": 5}, {"listen": "print"}, {"listen": [print]}]
ARRAYS = [
    None, 5, 1.5, True, b"a.tif", [], {}, {"a": 1}, NOTHING, print, "", np.float64(1), np.zeros(()), np.zeros(4), np.zeros((2,) * 6), EMPTY,
    np.array(["a"]), np.array([["a", "b"]]), np.array([[None, 1]]), np.array([["2020-01-01"]], "M8[D]"), [[1, 2], [3]], [1, 2], {1, 2}, Path,
    np.zeros((4, 4), [("a", "u1")]), torch.zeros(4, 4),
]  # fmt: skip


def refused(call, *args, **kwargs):
    with pytest.raises(LimnError) as said:
        call(*args, **kwargs)
    sentence = str(said.value)
    assert "found" in sentence or "there is no such" in sentence
    assert len(sentence) < 500
    assert "\n" not in sentence
    return sentence


@pytest.fixture
def nothing_is_computed(monkeypatch):
    def fail(*_):
        raise AssertionError("computed")

    monkeypatch.setattr(UNet, "forward", fail)
    monkeypatch.setattr(trainer, "load", fail)
    monkeypatch.setattr(trainer, "collect_training_data", fail)


@pytest.mark.usefixtures("nothing_is_computed")
@pytest.mark.parametrize(
    ("function", "wrong"),
    [
        *((limn.train, wrong) for wrong in [*TRAIN, *LISTENERS]),
        *((limn.training_events, wrong) for wrong in TRAIN),
        *((limn.predict, wrong) for wrong in [*PREDICT, *LISTENERS]),
        *((limn.prediction_events, wrong) for wrong in PREDICT),
        *((limn.plan, wrong) for wrong in PREDICT if {*wrong} <= {"model", "spec"}),
        *((limn.drain, wrong) for wrong in [{"run": None}, {"run": [1]}, {"run": 5}, {"run": limn.train}, *LISTENERS]),
        *((events.drain, wrong) for wrong in LISTENERS),
        *((limn.open_volume, {"axes": axes}) for axes in (5, ("Y", "X"), b"YX", True)),
        *((Volume.of, wrong) for wrong in ({"axes": 5}, {"axes": ("Y", "X")}, {"name": 5}, {"name": None})),
        *((limn.score, {"zero": zero}) for zero in (0, None, "nothing", True, ["auto"])),
        *((Model.load, {"path": path}) for path in (None, 5, b"m.limn", ["m.limn"], True, NOTHING)),
        *((MODEL.save, {"path": path}) for path in (None, 5, b"m.limn", ["m.limn"], True, NOTHING)),
    ],
    ids=shown,
)  # fmt: skip
def test_a_wrong_argument_of_a_function_is_named(function, wrong):
    good = {
        "train": (IMAGE, STROKES), "training_events": (IMAGE, STROKES), "predict": (MODEL, IMAGE), "prediction_events": (MODEL, IMAGE),
        "plan": (MODEL, IMAGE), "drain": (iter(()),), "open_volume": (IMAGE,), "Volume.of": (IMAGE,), "score": (STROKES, STROKES),
    }.get(function.__qualname__, ())  # fmt: skip
    first = {"model": 0, "run": 0}.get(next(iter(wrong)))
    given = good if first is None or not good or "train" in function.__qualname__ else good[1:]
    if given is not good:
        sentence = refused(function, *wrong.values(), *given)
    else:
        sentence = refused(function, *given, **wrong)
    assert sentence.startswith(f"{function.__qualname__}({next(iter(wrong))}=…)")


@pytest.mark.parametrize("array", ARRAYS, ids=shown)
def test_what_is_no_image_is_refused_wherever_one_is_taken(array, monkeypatch):
    refused(limn.open_volume, array)
    refused(limn.predict, MODEL, array)
    refused(limn.plan, MODEL, array)
    refused(limn.train, array, STROKES, TrainSpec(steps=1))
    refused(limn.train, IMAGE, array, TrainSpec(steps=1))
    refused(limn.train, [IMAGE, array], [STROKES, STROKES], TrainSpec(steps=1))
    refused(limn.score, array, STROKES)
    refused(limn.score, STROKES, array)


@pytest.mark.parametrize(
    ("images", "labels"),
    [
        ([IMAGE], [STROKES, STROKES]), ([IMAGE, IMAGE], [STROKES]), ([IMAGE, IMAGE], STROKES), ((), ()), ([], []), (IMAGE, STROKES[:5]),
        (IMAGE, STROKES.astype(complex)), (IMAGE.astype(complex), STROKES), (IMAGE, STROKES - 1.5), (IMAGE, STROKES.astype(str)),
    ],
)  # fmt: skip
def test_images_and_labels_that_do_not_fit_are_refused(images, labels):
    refused(limn.train, images, labels, TrainSpec(steps=1))


@pytest.mark.parametrize(
    ("kind", "fields"),
    [
        *((Classes, {"values": values}) for values in (None, 5, "12", (1.0, 2.0), ("1", "2"), (True, 2), (1, None), ((1,), (2,)), {1: 2}, (-1, 2), (2, 1))),
        *((Classes, {"values": (1, 2)} | wrong) for wrong in (
            {"zero": 0}, {"zero": None}, {"names": "ab"}, {"names": (1, 2)}, {"names": ("a",)}, {"colors": ("red", "blue")},
            {"colors": ((1, 1, 1), (1, 1, 1))}, {"colors": (1, 1, 1, 1)}, {"colors": ((1, 1, 1, True),) * 2},
        )),
        *((ModelSpec, {"network": NETWORK, "classes": SPEC.classes} | wrong) for wrong in (
            {"network": None}, {"network": "unet"}, {"classes": (1, 2)}, {"classes": None}, {"intensity": (1, 99)}, {"spacing": 1.0},
            {"spacing": (1, 1)}, {"spacing": (1, 1, "1")}, {"unit": None}, {"steps": 1.5}, {"steps": True}, {"seconds": "1"}, {"score": "good"},
            {"version": 1},
        )),
        *((Model, wrong) for wrong in ({"spec": NETWORK, "network": MODEL.network}, {"spec": SPEC, "network": None}, {"spec": SPEC, "network": torch.nn.Conv2d(1, 1, 1)})),
        *((Volume, {"data": IMAGE, "axes": Axes.of("YX")} | wrong) for wrong in (
            {"data": [[1, 2]]}, {"data": None}, {"axes": "YX"}, {"axes": None}, {"axes": Axes.of("ZYX")}, {"name": 5}, {"levels": 5}, {"levels": ([1],)},
            {"colors": ["red"]}, {"names": "ab"}, {"notes": "text"}, {"notes": (1,)}, {"path": 5}, {"place": (0, 0)}, {"data": EMPTY},
        )),
        *((Axes.of, {"names": "YX"} | wrong) for wrong in (
            {"names": 5}, {"names": None}, {"names": "QX"}, {"names": "YY"}, {"scale": 1.0}, {"scale": (1.0,)}, {"scale": ("1", "1")}, {"scale": (0, 1)},
            {"scale": (True, 1)}, {"units": "µm"}, {"units": (1, 1)}, {"translate": 0.0}, {"translate": ("a", "b")}, {"scale": (float("nan"), 1)},
        )),
    ],
    ids=shown,
)  # fmt: skip
def test_a_wrong_field_of_a_record_is_answered(kind, fields):
    refused(kind, **fields)


def test_what_python_callers_write_is_welcome(tmp_path):
    path = MODEL.save(tmp_path / "a.limn")
    for each in (str(path), path, Entry(path)):
        assert Model.load(each).spec == SPEC
    names, colors = OrderedDict({np.int64(1): "cell"}), {np.uint8(1): [1, 0, 0, 1], 2: np.ones(4)}
    found = limn.train(
        [IMAGE], (STROKES,), TrainSpec(steps=1, patch=(16, 16), network=NETWORK), names=names, colors=colors
    )
    assert found.spec.classes.names == ("cell", "class 2")
    assert found.spec.classes.colors == ((1.0, 0.0, 0.0, 1.0), (1.0,) * 4)
    assert {type(part) for color in found.spec.classes.colors for part in color} == {float}
    out = in_memory(Volume.of(IMAGE), np.uint8)
    assert limn.predict(
        Entry(path), IMAGE.tolist(), out, overwrite=np.bool_(True), listen=[].append
    ).shape == (16, 16)
    assert Classes([np.int64(1), 2]) == Classes((1, 2))
    assert Axes.of("YX", [1, np.float32(2)]).scale == (1.0, 2.0)


class Entry(os.PathLike):
    """A path that is no text."""

    def __init__(self, path):
        self.path = path

    def __fspath__(self):
        return str(self.path)


def test_signatures_and_docstrings_stay_those_of_the_function():
    @checked
    def each(path: str | os.PathLike[str], count: int = 1, *rest: int, listen: bool = False) -> NoSuchName:  # noqa: F821
        """Do it."""
        return path, count, rest, listen

    assert each.__doc__ == "Do it."
    assert each("a", np.int8(2), listen=True) == ("a", 2, (), True)
    with pytest.raises(TypeError, match="missing a required argument"):
        each()
    assert refused(each, 5) == f"{each.__qualname__}(path=…): found 5, expected a path."
    assert refused(each, "a", [0] * 10**6).endswith(
        "(count=…): found [0, 0, 0, 0, 0, 0, ...], expected a whole number."
    )
