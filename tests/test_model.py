from __future__ import annotations

import os
import zipfile
from dataclasses import replace

import numpy as np
import pytest
import torch

from napari_limn.annotation.classes import Classes
from napari_limn.errors import LimnError
from napari_limn.model import FORMAT_VERSION, Model, ModelSpec, _digest
from napari_limn.network.spec import UNetSpec
from napari_limn.network.unet import UNet
from napari_limn.volume.intensity import IntensitySpec

torch.set_num_threads(1)

NETWORK = UNetSpec(width=4, out_channels=3, in_channels=2, factors=((1, 2, 2), (2, 2, 2)), skip="attention")
SPEC = ModelSpec(
    network=NETWORK,
    classes=Classes((0, 4, 300), "background", names=("nothing", "Axon ✓", "myelin")),
    intensity=IntensitySpec(0.5, 99.5),
    spacing=(0.3, 0.1, 0.1),
    unit="micrometer",
    steps=123,
    seconds=45.5,
    score=0.875,
)


@pytest.fixture
def model():
    torch.manual_seed(0)
    return Model(SPEC, UNet(NETWORK))


@pytest.fixture
def saved(model, tmp_path):
    return model.save(tmp_path / "cells.limn")


def content_of(path):
    return torch.load(path, weights_only=True)


def refusal(path):
    """The one sentence with which a file is refused: it names the file and is not several lines."""
    with pytest.raises(LimnError) as error:
        Model.load(path)
    sentence = str(error.value)
    assert path.name in sentence
    assert "\n" not in sentence
    return sentence


@pytest.mark.parametrize("spec", [SPEC, replace(SPEC, score=None)], ids=["scored", "not scored"])
def test_a_model_survives_its_file(model, spec, tmp_path):
    loaded = Model.load(Model(spec, model.network).save(tmp_path / "m.limn"))
    assert loaded.spec == spec
    before, after = model.network.state_dict(), loaded.network.state_dict()
    assert list(before) == list(after)
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert not loaded.network.training


def test_a_model_with_numbers_of_numpy_is_loaded_again(model, tmp_path):
    classes = Classes(
        model.spec.classes.values, names=tuple(map(np.str_, model.spec.classes.names)),
        colors=tuple(tuple(np.float32(c) for c in color) for color in model.spec.classes.colors),
    )  # fmt: skip
    spacing = tuple(np.array([2.0, 0.5, 0.5]))
    spec = replace(model.spec, classes=classes, spacing=spacing, intensity=IntensitySpec(np.float64(2), 98))
    loaded = Model.load(Model(spec, model.network).save(tmp_path / "numbers.limn"))
    assert loaded.spec.spacing == spacing
    assert loaded.spec.intensity == spec.intensity
    assert loaded.spec.classes.names == model.spec.classes.names


def test_a_loaded_model_computes_the_same(model, saved):
    x = torch.rand(1, 2, 4, 16, 16)
    with torch.inference_mode():
        assert torch.equal(model.network.eval()(x), Model.load(str(saved)).network(x))


def test_the_file_holds_plain_values_that_pytorch_loads_without_running_code(saved):
    content = content_of(saved)
    assert content["format"] == "napari-limn model"
    assert content["format_version"] == FORMAT_VERSION
    assert content["spec"]["classes"]["values"] == (0, 4, 300)
    assert all(isinstance(w, torch.Tensor) for w in content["weights"].values())


def test_a_missing_file_is_named(tmp_path):
    assert "no such model file; check the spelling" in refusal(tmp_path / "none.limn")


@pytest.mark.parametrize("share", [0.05, 0.1, 0.3, 0.5])
def test_a_file_that_is_cut_off_is_refused(saved, share):
    whole = saved.read_bytes()
    saved.write_bytes(whole[: int(share * len(whole))])
    assert "cut off or of another kind" in refusal(saved)


@pytest.mark.parametrize("share", [0.0, 0.95, 0.999])
def test_a_file_without_its_end_and_an_empty_file_are_refused(saved, share):
    whole = saved.read_bytes()
    saved.write_bytes(whole[: int(share * len(whole))])
    assert "cut off or of another kind" in refusal(saved)


@pytest.mark.parametrize(
    "start",
    [
        "hello",
        "these",
        "<xml>",
    ],
)
def test_a_text_file_is_refused(tmp_path, start):
    path = tmp_path / "notes.limn"
    path.write_text(f"{start} are not the weights you are looking for\n" * 20)
    assert "expected a .limn model file written by napari-limn" in refusal(path)


def test_an_archive_of_another_kind_is_refused(tmp_path):
    path = tmp_path / "notes.limn"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a.txt", "hello")
    assert "expected a .limn model file written by napari-limn" in refusal(path)


@pytest.mark.parametrize("content", [{"state_dict": {"a": torch.zeros(3)}}, [1, 2], torch.zeros(3)])
def test_a_file_of_another_program_is_refused(tmp_path, content):
    path = tmp_path / "other.pt"
    torch.save(content, path)
    assert "PyTorch file of another program, expected a .limn model file" in refusal(path)


def test_pickled_code_is_not_run(tmp_path):
    path, trap = tmp_path / "evil.limn", tmp_path / "trap"

    class Evil:
        def __reduce__(self):
            return os.mkdir, (str(trap),)

    torch.save({"format": "napari-limn model", "weights": Evil()}, path)
    assert "cut off or of another kind" in refusal(path)
    assert not trap.exists()


def test_a_whole_pickled_network_is_refused(model, tmp_path):
    path = tmp_path / "network.limn"
    torch.save(model.network, path)
    assert "cut off or of another kind" in refusal(path)


def test_one_wrong_byte_in_the_weights_is_noticed(saved, model):
    weight = model.network.state_dict()["encoder.1.convs.0.weight"].numpy().tobytes()
    data = bytearray(saved.read_bytes())
    place = data.index(weight) + len(weight) // 2
    data[place] ^= 0x10
    saved.write_bytes(data)
    assert "do not match the checksum, the file is damaged; copy it again" in refusal(saved)


def test_a_wrong_byte_anywhere_is_refused_in_one_sentence_or_changes_no_weight(saved, model, tmp_path):
    whole, path = saved.read_bytes(), tmp_path / "broken.limn"
    expected = model.network.state_dict()
    rng = np.random.default_rng(0)
    for place in [*range(0, 4000, 13), *np.linspace(4000, len(whole) - 1, 60).astype(int).tolist()]:
        data = bytearray(whole)
        data[place] ^= int(rng.integers(1, 256))
        path.write_bytes(data)
        try:
            found = Model.load(path).network.state_dict()
        except LimnError:
            continue
        assert all(torch.equal(expected[name], found[name]) for name in expected)


def test_a_wrong_byte_in_the_specification_is_noticed(saved):
    data = bytearray(saved.read_bytes())
    place = data.index(b"Axon")
    data[place] ^= 0x01
    saved.write_bytes(data)
    with pytest.raises(LimnError, match="damaged"):
        Model.load(saved)


def edited(saved, **changes):
    """The file with other content and a checksum that is right for it."""
    content = content_of(saved) | changes
    content["sha256"] = _digest(content["weights"], content["spec"])
    torch.save(content, saved)
    return saved


def test_a_file_of_a_newer_version_asks_for_an_update(saved):
    sentence = refusal(edited(saved, format_version=FORMAT_VERSION + 1))
    assert f"found model format {FORMAT_VERSION + 1}, expected {FORMAT_VERSION}" in sentence
    assert "update napari-limn" in sentence


def test_an_unknown_key_in_the_specification_is_named(saved):
    content = content_of(saved)
    with pytest.raises(LimnError, match="unknown key magic"):
        Model.load(edited(saved, spec=content["spec"] | {"magic": 1}))


def test_a_specification_that_misses_a_key_is_refused(saved):
    spec = {k: v for k, v in content_of(saved)["spec"].items() if k != "classes"}
    with pytest.raises(LimnError, match="key classes is missing"):
        Model.load(edited(saved, spec=spec))


def test_weights_of_another_network_are_refused(saved):
    spec = content_of(saved)["spec"]
    network = spec["network"] | {"width": 8}
    assert "weights do not fit the network" in refusal(edited(saved, spec=spec | {"network": network}))


def test_a_network_and_classes_that_do_not_fit_are_refused():
    with pytest.raises(LimnError, match="network of 2 outputs for 3 classes"):
        ModelSpec(network=UNetSpec(), classes=Classes((1, 2, 3)))


def test_a_save_that_is_interrupted_leaves_the_old_file(model, saved, monkeypatch):
    before = saved.read_bytes()

    def full(*args):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(LimnError, match=r"limn: the disk is full; make room: the model was not saved\."):
        Model(replace(SPEC, steps=999), model.network).save(saved)
    assert saved.read_bytes() == before
    assert os.listdir(saved.parent) == [saved.name]


def test_saving_again_replaces_the_file(model, saved):
    Model(replace(SPEC, steps=999), model.network).save(saved)
    assert Model.load(saved).spec.steps == 999
    assert os.listdir(saved.parent) == [saved.name]


def test_a_copy_has_its_own_weights(model):
    copied = model.copy()
    copied.network.head.bias.data.fill_(7)
    assert copied.spec is model.spec
    assert (model.network.head.bias == 0).all()


def test_a_model_tells_what_it_is(model):
    assert repr(model) == "Model(3D U-Net, width 4, depth 2, classes (0, 4, 300))"
