"""Many images in one run: one line each, what is true is kept, what fails is said."""

from __future__ import annotations

import json

import numpy as np
import pytest
import tifffile
from tests.helpers.networks import model_of

from napari_limn import PredictSpec, UNetSpec, folder_events, predict, predict_folder
from napari_limn.cli import main
from napari_limn.errors import LimnError
from napari_limn.events import ImageDone
from napari_limn.execution.manifest import NAME


@pytest.fixture(scope="module")
def model():
    return model_of(UNetSpec(width=2, factors=((2, 2),), out_channels=2))


@pytest.fixture
def images(tmp_path):
    """A folder of four images of one brightness each, and a file that is no image."""
    folder = tmp_path / "plate 7"
    folder.mkdir()
    rng = np.random.default_rng(3)
    for number in range(4):
        tifffile.imwrite(
            folder / f"well {number}.tif", rng.integers(0, 50 * (number + 1), (20, 24), np.uint8)
        )
    (folder / "notes.txt").write_text("not an image")
    return folder


@pytest.fixture
def out(tmp_path):
    return tmp_path / "labels of 7"


def statuses(model, sources, out, **options):
    events = []
    result = predict_folder(model, sources, out, listen=events.append, **options)
    return [event.status for event in events if isinstance(event, ImageDone)], result


def test_each_image_of_a_file_has_labels_of_its_own(model, tmp_path, out):
    with tifffile.TiffWriter(tmp_path / "a.tif") as writer:
        for shape in ((20, 24), (24, 20)):
            writer.write(np.zeros(shape, np.uint8), contiguous=False, photometric="minisblack")
    said, result = statuses(model, [tmp_path / "a.tif"], out)
    assert said == ["done", "done"]
    assert [entry.output for entry in result.entries] == ["a_0.labels.tif", "a_1.labels.tif"]
    assert tifffile.imread(out / "a_1.labels.tif").shape == (24, 20)
    assert statuses(model, [tmp_path / "a.tif"], out)[0] == ["kept", "kept"]
    _, result = statuses(model, [f"{tmp_path / 'a.tif'}#1"], tmp_path / "one")
    assert [entry.output for entry in result.entries] == ["a_1.labels.tif"]


def times(out):
    return {path.name: path.stat().st_mtime_ns for path in out.glob("*.labels.tif")}


def test_each_image_gets_the_labels_of_a_call_of_its_own(model, images, out):
    done, result = statuses(model, [images], out)

    assert done == ["done"] * 4
    assert not result.failures
    for number in range(4):
        labels = tifffile.imread(out / f"well {number}.labels.tif")
        alone = predict(model, images / f"well {number}.tif")
        assert np.array_equal(labels, alone)
        counts = {value: int((alone == value).sum()) for value in np.unique(alone)}
        assert dict(result.entries[number].voxels) == counts
    assert {path.name for path in out.iterdir()} == {
        NAME, "manifest.csv", *(f"well {n}.labels.tif" for n in range(4))
    }  # fmt: skip


def test_a_bad_image_is_one_line_and_the_others_go_on(model, images, out):
    (images / "well 1.tif").write_bytes(b"II*\0 cut off")
    tifffile.imwrite(images / "well 2.tif", np.zeros((20, 24, 3), np.uint8), photometric="rgb")

    done, result = statuses(model, [images], out)

    assert done == ["done", "failed", "failed", "done"]
    assert [
        entry.image.endswith(f"well {n}.tif") for n, entry in zip((1, 2), result.failures, strict=True)
    ] == [True] * 2
    assert all("well" in entry.message for entry in result.failures)
    rows = (out / "manifest.csv").read_text().splitlines()
    assert [row.split(",")[2] for row in rows[1:]] == done


def test_run_again_only_what_is_not_true_is_computed(model, images, out):
    (images / "well 3.tif").write_bytes(b"no image yet")
    statuses(model, [images], out)
    before = times(out)
    tifffile.imwrite(images / "well 3.tif", np.full((20, 24), 7, np.uint8))
    tifffile.imwrite(images / "well 0.tif", np.full((24, 20), 7, np.uint8))

    done, result = statuses(model, [images], out)

    assert done == ["done", "kept", "kept", "done"]
    assert not result.failures
    after = times(out)
    assert [after[name] == before.get(name) for name in sorted(after)] == [False, True, True, False]
    assert tifffile.imread(out / "well 0.labels.tif").shape == (24, 20)


def test_labels_that_were_changed_by_others_are_not_replaced(model, images, out):
    statuses(model, [images], out)
    (out / "well 2.labels.tif").write_bytes(b"mine now")

    done, result = statuses(model, [images], out)

    assert done == ["kept", "kept", "failed", "kept"]
    assert "exists already" in result.failures[0].message
    assert (out / "well 2.labels.tif").read_bytes() == b"mine now"


@pytest.mark.parametrize("after", [1, 3, 6])
def test_a_run_that_was_ended_goes_on(model, images, out, after):
    """Ended between any two events, even between labels and their line."""
    run = folder_events(model, [images], out)
    for _ in range(after):
        next(run)
    run.close()

    statuses(model, [images], out)

    for path in sorted(images.glob("*.tif")):
        assert np.array_equal(tifffile.imread(out / f"{path.stem}.labels.tif"), predict(model, path))
    assert not list(out.glob("*.run.jsonl"))


def test_labels_whose_line_a_crash_prevented_are_taken_as_they_are(model, images, out):
    out.mkdir()
    predict(model, images / "well 1.tif", out / "well 1.labels.tif")
    before = times(out)

    done, result = statuses(model, [images], out)

    assert done == ["done"] * 4
    assert times(out)["well 1.labels.tif"] == before["well 1.labels.tif"]
    assert result.entries[1].computed.startswith("float32 on cpu")


def test_a_last_line_that_a_crash_cut_off_is_dropped(model, images, out):
    statuses(model, [images], out)
    whole = (out / NAME).read_bytes()
    (out / NAME).write_bytes(whole[:-20])

    done, _ = statuses(model, [images], out)

    assert done == ["kept"] * 3 + ["failed"]  # its labels are there, and nothing says that they are ours
    assert (out / NAME).read_bytes().count(b"\n") == 5


def test_other_settings_are_refused_before_the_first_image(model, images, out):
    statuses(model, [images], out)

    with pytest.raises(LimnError, match="computed with prune None, found 1 now"):
        predict_folder(model, [images], out, PredictSpec(prune=1))
    with pytest.raises(LimnError, match="model"):
        predict_folder(model_of(model.spec.network, seed=4), [images], out)
    done, _ = statuses(model_of(model.spec.network, seed=4), [images], out, overwrite=True)
    assert done == ["done"] * 4


def test_two_images_of_one_name_are_refused(model, images, out, tmp_path):
    other = tmp_path / "plate 8"
    other.mkdir()
    tifffile.imwrite(other / "WELL 1.ome.tif", np.zeros((20, 24), np.uint8))

    with pytest.raises(LimnError, match="2 images whose labels would have the name"):
        predict_folder(model, [images, other / "WELL 1.ome.tif"], out)
    assert not out.exists()


def test_two_runs_do_not_share_a_folder(model, images, out):
    run = folder_events(model, [images], out)
    next(run)

    with pytest.raises(LimnError, match="another run is writing there"):
        predict_folder(model, [images], out)
    run.close()


def test_a_manifest_that_is_not_ours_stays(model, images, out):
    out.mkdir()
    (out / NAME).write_text('{"mine": 1}\n')

    with pytest.raises(LimnError, match="is no manifest of labels"):
        predict_folder(model, [images], out, overwrite=True)
    assert (out / NAME).read_text() == '{"mine": 1}\n'


@pytest.mark.parametrize(
    "line",
    [
        "[]",
        "{",
        '{"image": 3}',
        '{"image":"a","output":"b","status":"gone"}',
        "[" * 10_000,
        '{"output":' + "9" * 5000 + "}",
    ],
)
def test_a_damaged_manifest_is_refused_by_its_line(model, images, out, line):
    statuses(model, [images], out)
    rows = (out / NAME).read_text().splitlines()
    (out / NAME).write_text("\n".join([rows[0], line, *rows[1:]]) + "\n")

    with pytest.raises(LimnError, match="line 2"):
        predict_folder(model, [images], out)


def test_shared_intensity_is_fitted_once_and_kept(model, images, out):
    (images / "well 0.tif").write_bytes(b"bad")
    _, result = statuses(model, [images], out, intensity="shared")
    used = {entry.intensity for entry in result.entries if entry.status == "done"}
    assert len(used) == 1

    tifffile.imwrite(images / "well 9.tif", np.full((20, 24), 255, np.uint8))  # a new image does not move it
    done, result = statuses(model, [images], out, intensity="shared")

    assert done == ["failed", "kept", "kept", "kept", "done"]
    assert {entry.intensity for entry in result.entries if entry.status == "done"} == used
    each, _ = statuses(model, [images], out.with_name("each"))
    assert each.count("done") == 4


@pytest.mark.parametrize(
    "wrong",
    [
        {"suffix": "tif"},
        {"intensity": "all"},
        {"overwrite": 1},
        {"images": 7},
        {"folder": None},
        {"spec": "fast"},
        {"model": 3},
    ],
    ids=str,
)
def test_wrong_arguments_are_answered_by_their_names(model, images, out, wrong):
    right = {"model": model, "images": [images], "folder": out}
    with pytest.raises(LimnError, match=next(iter(wrong))):
        folder_events(**right | wrong)
    assert not out.exists()


def test_files_of_one_set_are_labelled_once(model, images, out, tmp_path):
    stack = tmp_path / "set"
    stack.mkdir()
    tifffile.imwrite(stack / "a.ome.tif", np.zeros((20, 24), np.uint8))
    (stack / "b.ome.tif").symlink_to(stack / "a.ome.tif")

    done, result = statuses(model, [stack], out)

    assert done == ["done", "failed"]
    assert "a.ome.tif is read from, too" in result.failures[0].message


def test_the_command_line_counts_and_ends_with_1(model, images, out, tmp_path, capsys):
    saved = str(model.save(tmp_path / "m.limn"))
    (images / "well 2.tif").write_bytes(b"bad")

    assert main(["predict", saved, str(images), "-o", str(out), "--json", "--format", "ome.zarr"]) == 1
    shown = capsys.readouterr()
    assert "3 of 4 images labelled, 1 failed" in shown.out
    assert shown.err.count("\n") == 1
    assert json.loads(shown.out.splitlines()[-1])["failed"] == 1
    assert sorted(path.name for path in out.glob("*.zarr")) == [
        f"well {n}.labels.ome.zarr" for n in (0, 1, 3)
    ]

    (images / "well 2.tif").unlink()
    assert main(["predict", saved, str(images), "-o", str(out), "--format", "ome.zarr"]) == 0
    assert "3 of 3 images labelled\n" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["one.tif", "two.tif", "-o", "labels.tif"], "labels.tif: found a file"),
        (["one.tif", "-o", "labels.ome.tif", "--format", "tif"], "found --format with one image"),
        (["one.tif", "two.tif", "-o", "new", "--axes", "YX"], "found --axes with several images"),
        (["empty", "-o", "new"], "empty: found no image"),
        (["no*.tif", "-o", "new"], "found no image"),
        (["@gone.csv", "-o", "new"], "gone.csv: found no list there"),
        (
            ["one.tif", "two.tif", "-o", "new", "--format", "tif", "--probabilities", "uint8"],
            "expected OME-Zarr",
        ),
        (["one.tif", "two.tif", "-o", "no/new"], "there is no such folder"),
    ],
)
def test_wrong_commands_are_answered_in_a_sentence(arguments, sentence, model, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    model.save(tmp_path / "m.limn")
    for name in ("one.tif", "two.tif"):
        tifffile.imwrite(name, np.zeros((20, 24), np.uint8))
    (tmp_path / "labels.tif").write_text("mine")
    (tmp_path / "empty").mkdir()

    assert main(["predict", "m.limn", *arguments]) == 1
    assert sentence in capsys.readouterr().err
    assert not (tmp_path / "new").exists()
    assert (tmp_path / "labels.tif").read_text() == "mine"
