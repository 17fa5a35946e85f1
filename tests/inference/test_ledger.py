"""The journal of a run: nothing that was told of is lost, nothing else is believed."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
import time

import pytest

from napari_limn.errors import LimnError
from napari_limn.inference.ledger import SUFFIX, VERSION, Ledger, refuse_taken

FINGERPRINT = {"model": "a1b2", "image": "brain.tif", "voxels": 1000, "scale": 0.5}


@pytest.fixture
def output(tmp_path):
    return tmp_path / "labels.ome.zarr"


@pytest.fixture
def journal(output):
    return output.with_name(output.name + SUFFIX)


def run(output, *shards, **notes):
    """A run that is stopped after some shards."""
    with Ledger.open(output, FINGERPRINT) as ledger:
        for shard in shards:
            ledger.add([shard])
        for key, value in notes.items():
            ledger.note(key, value)


def refused(output, match, fingerprint=FINGERPRINT, **options):
    with pytest.raises(LimnError, match=match):
        Ledger.open(output, fingerprint, **options)


def test_a_run_goes_on_where_it_stopped(output):
    run(output, 3, 1, block=[1, 64, 64, 64])
    with Ledger.open(output, FINGERPRINT) as ledger:
        assert ledger.done == {1, 3}
        assert ledger.notes == {"block": [1, 64, 64, 64]}
        assert not ledger.finished
        ledger.add([1, 3, 4])
        ledger.add([])
        ledger.note("block", [1, 32, 64, 64])
    with Ledger.open(output, FINGERPRINT) as ledger:
        assert ledger.done == {1, 3, 4}
        assert ledger.notes == {"block": [1, 32, 64, 64]}


def test_a_line_for_each_shard_is_on_the_disk_at_once(output, journal, monkeypatch):
    synced = []
    real = os.fsync
    monkeypatch.setattr(os, "fsync", lambda handle: (synced.append(os.fstat(handle).st_size), real(handle)))
    with Ledger.open(output, FINGERPRINT) as ledger:
        ledger.add([5])
        assert journal.stat().st_size in synced
        ledger.add([6, 5])
    rows = [json.loads(line) for line in journal.read_text().splitlines()]
    assert rows == [{"limn run": VERSION, "fingerprint": FINGERPRINT}, {"shards": [5]}, {"shards": [6]}]


def test_the_journal_may_be_cut_off_anywhere(output, journal):
    run(output, 10, 11, 12)
    data = journal.read_bytes()
    ends = [i + 1 for i, byte in enumerate(data) if byte == ord("\n")]
    for size in range(len(data) + 1):
        journal.write_bytes(data[:size])
        with Ledger.open(output, FINGERPRINT) as ledger:
            assert ledger.done == set(range(10, 10 + max(0, sum(end <= size for end in ends) - 1)))
            ledger.add([99])
        with Ledger.open(output, FINGERPRINT) as ledger:
            assert 99 in ledger.done


@pytest.mark.parametrize(
    ("changed", "match"),
    [
        (
            {"model": "c3"},
            r"had model 'a1b2', found 'c3' now; go on with the same settings, or say --overwrite",
        ),
        ({"voxels": 1001, "scale": 1.0}, "had voxels 1000, found 1001 now"),
        ({"halo": 8}, "had halo None, found 8 now"),
    ],
)
def test_other_settings_are_refused_by_name(output, changed, match):
    run(output, 1)
    refused(output, match, FINGERPRINT | changed)
    refused(
        output, "had model 'a1b2', found None now", {k: v for k, v in FINGERPRINT.items() if k != "model"}
    )
    with Ledger.open(output, FINGERPRINT | changed, overwrite=True) as ledger:
        assert ledger.done == set()
    refused(output, "found 'a1b2' now" if "model" in changed else "found", FINGERPRINT)


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ('{"limn run":\n', "no JSON object in line 1"),
        ('{"limn run":null}\n', "found no journal of a run"),
        (
            '{"limn run":7,"fingerprint":{}}\n',
            f"journal of format 7, this version knows up to {VERSION}; update",
        ),
    ],
)
def test_what_is_no_journal_of_ours_is_refused_and_kept(output, journal, text, match):
    journal.write_text(text, encoding="latin-1")
    refused(output, match)
    assert journal.read_text(encoding="latin-1") == text
    with Ledger.open(output, FINGERPRINT, overwrite=True) as ledger:
        assert ledger.done == set()


@pytest.mark.parametrize("text", ["\x89PNG\n", "[]\n", "{}\n", "my notes", " ", '{"limn runs":1}\n'])
@pytest.mark.parametrize("overwrite", [False, True])
def test_another_file_under_the_name_of_the_journal_is_never_written_over(output, journal, text, overwrite):
    journal.write_text(text, encoding="latin-1")
    with pytest.raises(
        LimnError, match=r"found no journal of a run under the name that it needs; move that away"
    ):
        Ledger.open(output, FINGERPRINT, overwrite=overwrite)
    with pytest.raises(LimnError, match=r"found no journal of a run"):
        refuse_taken(output, overwrite=overwrite)
    assert journal.read_text(encoding="latin-1") == text


def test_what_a_crash_left_of_a_long_line_does_not_lie_behind_a_short_one(output, journal):
    run(output, 1)
    with journal.open("ab") as file:
        file.write(b'{"shards":[2,3,4,5,6,7,8,9,10')
    run(output, 2)
    rows = [json.loads(line) for line in journal.read_text().splitlines()]
    assert rows[1:] == [{"shards": [1]}, {"shards": [2]}]


@pytest.mark.parametrize("row", ['{"sh', "{}", '{"moved":3}', "null"])
def test_a_bad_line_in_the_middle_is_named(output, journal, row):
    run(output, 1)
    journal.write_text(journal.read_text() + row + '\n{"shards":[2]}\n')
    refused(output, "in line 3")


def test_a_finished_run_leaves_a_small_journal(output, journal):
    with Ledger.open(output, FINGERPRINT) as ledger:
        ledger.note("block", 64)
        for start in range(0, 5000, 50):
            ledger.add(range(start, start + 50))
        ledger.finish()
        assert ledger.finished
    assert journal.stat().st_size < 300
    assert [p.name for p in journal.parent.iterdir()] == [journal.name]
    with Ledger.open(output, FINGERPRINT) as ledger:
        assert ledger.finished
        assert ledger.done == set(range(5000))
        assert ledger.notes == {"block": 64}
    refused(output, "had voxels", FINGERPRINT | {"voxels": 1})


@pytest.mark.skipif(sys.platform == "win32", reason="there are no such locks")
def test_two_runs_on_one_output_are_refused(output):
    code = (
        "import sys; from pathlib import Path; from napari_limn.inference.ledger import Ledger\n"
        f"ledger = Ledger.open(Path(sys.argv[1]), {FINGERPRINT!r}); print('open', flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, str(output)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as other:
        assert other.stdout.readline() == b"open\n"
        for overwrite in (False, True):
            refused(output, r"labels\.ome\.zarr: another run is writing it", overwrite=overwrite)
        other.stdin.close()
        other.wait()
    Ledger.open(output, FINGERPRINT).close()


@pytest.mark.parametrize(
    ("code", "match"),
    [
        (errno.ENOSPC, "the disk is full; make room: what was finished stays, and the same command goes on"),
        (errno.EROFS, "the disk is read-only"),
        (errno.EACCES, "writing is not permitted"),
        (errno.EDQUOT, "your quota on this disk is used up"),
    ],
)
def test_a_disk_that_refuses_is_told_in_a_sentence(output, code, match, monkeypatch):
    def broken(handle):
        raise OSError(code, os.strerror(code))

    with Ledger.open(output, FINGERPRINT) as ledger:
        ledger.add([1])
        with monkeypatch.context() as patch:
            patch.setattr(os, "fsync", broken)
            for act in (lambda: ledger.add([2]), lambda: ledger.note("a", 1), ledger.finish):
                with pytest.raises(LimnError, match=match):
                    act()
        ledger.add([3])
    with Ledger.open(output, FINGERPRINT) as ledger:
        assert ledger.done == {1, 3}
    monkeypatch.setattr(os, "open", lambda *_: broken(0))
    refused(output, match)


def test_other_faults_keep_their_traceback(output, monkeypatch):
    def broken(handle):
        raise OSError(errno.EIO, "Input/output error")

    with Ledger.open(output, FINGERPRINT) as ledger:
        monkeypatch.setattr(os, "fsync", broken)
        with pytest.raises(OSError, match="Input/output"):
            ledger.add([2])


def test_a_long_journal_is_read_quickly(output, journal):
    run(output)
    with journal.open("ab") as file:
        file.writelines(b'{"shards":[%d]}\n' % n for n in range(100_000))
    began = time.perf_counter()
    with Ledger.open(output, FINGERPRINT) as ledger:
        assert len(ledger.done) == 100_000
    assert time.perf_counter() - began < 5
