"""Which images a command names."""

from __future__ import annotations

from pathlib import Path

import pytest

from napari_limn.errors import LimnError
from napari_limn.execution.images import images_in, labels_name, names_several, pairs_in


@pytest.fixture
def folder(tmp_path, monkeypatch):
    for name in ("b.tif", "A.TIFF", "c.ome.tif", "b.labels.tif", ".hidden.tif", "x.txt", "[1].tif"):
        (tmp_path / name).touch()
    for name in ("d.ome.zarr", "d.labels.ome.zarr", "d.labels.ome.zarr.partial", "below"):
        (tmp_path / name).mkdir()
    (tmp_path / "below" / "deep.tif").touch()
    monkeypatch.chdir(tmp_path)
    return tmp_path


def named(*sources):
    return [path.name for path in images_in(sources)]


def test_a_folder_is_its_images_without_labels(folder):
    assert named(folder) == ["[1].tif", "A.TIFF", "b.tif", "c.ome.tif", "d.ome.zarr"]


def test_patterns_files_and_folders_are_joined_and_named_once(folder):
    assert named("below", "b*", "*.tif") == ["deep.tif", "b.tif", "[1].tif", "c.ome.tif"]
    assert named("[1].tif") == ["[1].tif"]  # a file of that name wins over the pattern


@pytest.mark.parametrize(
    "text",
    [
        "b.tif\nbelow/deep.tif\n",
        "image\r\nb.tif\r\n\r\nbelow/deep.tif",
        '\ufefflabels,Image\nx,b.tif\ny,"below/deep.tif"\n',
    ],
)
def test_a_list_names_images_beside_it(folder, text, tmp_path_factory, monkeypatch):
    (folder / "list.csv").write_text(text, encoding="utf-8")
    monkeypatch.chdir(tmp_path_factory.mktemp("elsewhere"))

    assert images_in([f"@{folder / 'list.csv'}"]) == [folder / "b.tif", folder / "below/deep.tif"]


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (b"", "found a line without a path"),
        (b"image,labels\n,y\n", "a line without a path"),
        (
            b"file,labels\na,b\n",
            "found file, labels in the first line, expected the names of columns, among them image",
        ),
        (b"\xff\xfe\0", "found no text"),
    ],
)
def test_a_list_that_says_nothing_is_refused(folder, text, sentence):
    (folder / "list.csv").write_bytes(text)

    with pytest.raises(LimnError, match=sentence):
        images_in(["@list.csv"])


def test_a_list_of_images_with_their_labels(folder):
    (folder / "pairs.csv").write_text("labels,plate,image\nl1.tif,7,below/deep.tif\nl2.tif,8,b.tif\n")

    assert pairs_in(folder / "pairs.csv") == [
        (folder / "below/deep.tif", folder / "l1.tif"),
        (folder / "b.tif", folder / "l2.tif"),
    ]
    (folder / "pairs.csv").write_text("b.tif\n")
    with pytest.raises(LimnError, match="image and labels"):
        pairs_in(folder / "pairs.csv")


def test_what_names_several_images(folder):
    (folder / "d.ome.zarr" / "zarr.json").write_text("{}")
    (folder / "below" / ".zattrs").write_text("{}")  # an image, whatever it is called

    assert [names_several(s) for s in (".", "b*", "@l.csv", "b.tif", "d.ome.zarr", "below", "no.tif", "[1].tif")] == [
        True, True, True, False, False, False, False, False,
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("image", "suffix", "expected"),
    [
        ("a.b.c.tif", None, "a.b.c.labels.tif"),
        ("x.OME.TIFF", None, "x.labels.tif"),
        ("folder/x.zarr", ".tif", "x.labels.tif"),
        ("plain", ".ome.zarr", "plain.labels.ome.zarr"),
    ],
)
def test_names_of_labels(image, suffix, expected):
    assert labels_name(Path(image), suffix) == expected
