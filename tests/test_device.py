from __future__ import annotations

import os
import platform
import sys
from pathlib import Path

import pytest
import torch

from napari_limn import device
from napari_limn.device import (
    choose_device,
    choose_precision,
    fast_bfloat16,
    free_memory,
    parse_bytes,
    total_memory,
)
from napari_limn.errors import LimnError
from napari_limn.inference.planning.memory import memory_limit

CPU = torch.device("cpu")


@pytest.fixture
def accelerators(monkeypatch):
    """Pretend which accelerators are there."""

    def there(*, cuda=False, mps=False):
        monkeypatch.setattr(torch.cuda, "is_available", lambda: cuda)
        monkeypatch.setattr(torch.backends.mps, "is_available", lambda: mps)

    return there


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("2GB", 2 * 10**9),
        ("1.5GB", 1_500_000_000),
        ("512MiB", 512 * 2**20),
        ("512MB", 512 * 10**6),
        ("3 gib", 3 * 2**30),
        ("10k", 10_000),
        ("1TiB", 2**40),
        ("100B", 100),
        ("  7 MB ", 7_000_000),
        ("1234", 1234),
        (4096, 4096),
        ("4G", 4 * 10**9),
        ("4Gi", 4 * 2**30),
    ],
)
def test_sizes_of_memory(text, size):
    assert parse_bytes(text) == size


@pytest.mark.parametrize(
    "text", ["", "GB", "2 XB", "two GB", "-1GB", "0", "0GB", "1.2.3GB", "1e9", "2GB left", -5]
)
def test_what_is_no_size_is_refused_with_an_example(text):
    with pytest.raises(LimnError, match="expected a size such as 2GB or 512MB") as error:
        parse_bytes(text)
    assert repr(text) in str(error.value)


@pytest.mark.parametrize("text", [".", ".GB", "5IB", "5I", "9" * 400])
def test_odd_sizes_are_refused_as_the_others(text):
    with pytest.raises(LimnError, match="expected a size such as 2GB or 512MB"):
        parse_bytes(text)


def test_less_than_a_byte_is_no_size():
    with pytest.raises(LimnError):
        parse_bytes("0.2")


@pytest.mark.parametrize(
    ("there", "chosen"),
    [
        ({}, "cpu"),
        ({"cuda": True}, "cuda"),
        ({"mps": True}, "mps"),
        ({"cuda": True, "mps": True}, "cuda"),
    ],
)
def test_auto_takes_the_fastest_device_that_is_there(accelerators, there, chosen):
    accelerators(**there)
    assert choose_device().type == chosen


@pytest.mark.parametrize("name", ["cpu", "cuda", "mps"])
def test_a_device_that_is_there_is_taken_by_name(accelerators, name):
    accelerators(cuda=True, mps=True)
    assert choose_device(name).type == name


@pytest.mark.parametrize("name", ["cuda", "mps"])
def test_a_device_that_is_missing_is_refused_with_a_way_out(accelerators, name):
    accelerators()
    with pytest.raises(
        LimnError, match=rf"device '{name}' is not available to PyTorch .*choose another, or auto"
    ):
        choose_device(name)


def test_an_unknown_device_is_refused_with_the_known_ones(accelerators):
    accelerators()
    with pytest.raises(LimnError, match="found device 'gpu', expected one of auto, cpu, cuda, mps"):
        choose_device("gpu")


@pytest.mark.parametrize(
    ("name", "dtype"), [("auto", torch.float32), ("float32", torch.float32), ("bfloat16", torch.bfloat16)]
)
def test_precisions_on_the_cpu(name, dtype):
    assert choose_precision(name, CPU) is dtype


def test_half_precision_is_for_cards():
    assert choose_precision("float16", torch.device("cuda")) is torch.float16
    with pytest.raises(LimnError, match=r"float16 on a CPU.*choose bfloat16, float32 or auto"):
        choose_precision("float16", CPU)


def test_an_unknown_precision_is_refused_with_the_known_ones():
    with pytest.raises(LimnError, match="found precision 'float64', expected one of auto, float32"):
        choose_precision("float64", CPU)


@pytest.mark.parametrize("answer", [True, False])
def test_bfloat16_is_fast_where_the_processor_says_so(monkeypatch, answer):
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: answer)
    assert fast_bfloat16(CPU) is answer
    assert not fast_bfloat16(torch.device("mps"))


def test_free_memory_is_less_than_there_is():
    psutil = pytest.importorskip("psutil")
    free = free_memory(CPU)
    assert 0 < free <= psutil.virtual_memory().total


def test_free_memory_is_estimated_where_the_system_does_not_say(monkeypatch):
    def refuse(*args, **kwargs):
        raise OSError

    monkeypatch.setattr("builtins.open", refuse)
    assert free_memory(CPU) > 1 << 28


# ---- limits on this process ------------------------------------------------------------------------------------------
GIGA = 10**9


def group(folder, version, limit, used, cache=0):
    """A control group of some version, with a limit, its use, and what of that are files that may be dropped."""
    limits, usage, key = device._FILES[version]
    folder.mkdir(parents=True, exist_ok=True)
    (folder / limits).write_text(f"{limit}\n")
    (folder / usage).write_text(f"{used}\n")
    (folder / "memory.stat").write_text(f"anon {used - cache}\n{key} {cache}\n")


@pytest.fixture
def groups(tmp_path, monkeypatch):
    """An empty folder of control groups, and what the process says that it is in; on a machine with 500 GB free."""
    own = tmp_path / "own"
    monkeypatch.setattr(device, "_limits", lambda: device.group_limits(tmp_path / "cgroup", own))
    monkeypatch.setattr(device, "_host_free", lambda: 500 * GIGA)
    return tmp_path / "cgroup", own


@pytest.mark.parametrize("version", [1, 2])
def test_a_job_in_a_container_of_2_gb_on_a_machine_of_500_gb_plans_for_2_gb(groups, version):
    root, own = groups
    own.write_text("0::/\n" if version == 2 else "7:pids:/\n4:cpu,memory:/\n")
    group(root if version == 2 else root / "memory", version, 2 * GIGA, GIGA // 2)
    assert free_memory(CPU) == 1.5 * GIGA
    assert total_memory() == 2 * GIGA
    assert memory_limit(None, CPU) == 0.75 * GIGA
    group(root if version == 2 else root / "memory", version, 2 * GIGA, 0)
    assert memory_limit(None, CPU) == GIGA


@pytest.mark.parametrize("version", [1, 2])
def test_of_groups_in_each_other_the_least_counts(groups, version):
    root, own = groups
    base = root if version == 2 else root / "memory"
    own.write_text("0::/slurm/job_7/step_0\n" if version == 2 else "4:memory:/slurm/job_7/step_0\n")
    none = "max" if version == 2 else 9223372036854771712
    group(base, version, none, 90 * GIGA)
    group(base / "slurm", version, 100 * GIGA, 98 * GIGA)
    group(base / "slurm/job_7", version, 8 * GIGA, 3 * GIGA)
    group(base / "slurm/job_7/step_0", version, none, GIGA)
    assert free_memory(CPU) == 2 * GIGA
    assert min(limit for limit, _ in device._limits()) == 8 * GIGA


def test_files_in_the_cache_that_may_be_dropped_are_free(groups):
    root, own = groups
    own.write_text("0::/a\n")
    group(root / "a", 2, 4 * GIGA, 3 * GIGA, cache=2 * GIGA)
    assert free_memory(CPU) == 3 * GIGA


def test_a_path_of_the_host_means_the_root_of_the_container(groups):
    root, own = groups
    group(root, 2, 4 * GIGA, GIGA)
    for path in ("/docker/0123abcd", "/../../kubepods/pod1"):
        own.write_text(f"0::{path}\n")
        assert free_memory(CPU) == 3 * GIGA


@pytest.mark.parametrize("text", ["", "nonsense\n", "0::/\n", "1:name=systemd:/\n"])
def test_without_a_group_that_limits_memory_the_machine_counts(groups, text):
    root, own = groups
    own.write_text(text)
    group(root, 2, "max", GIGA)
    assert free_memory(CPU) == 500 * GIGA
    own.unlink()
    assert free_memory(CPU) == 500 * GIGA


def test_a_group_that_is_full_leaves_nothing(groups):
    root, own = groups
    own.write_text("0::/\n")
    group(root, 2, GIGA, 2 * GIGA)
    assert free_memory(CPU) == 0


@pytest.mark.skipif(sys.platform != "linux", reason="has no /proc")
def test_a_limit_on_the_address_space_counts(monkeypatch):
    import resource

    used = int(Path("/proc/self/statm").read_text().split()[0]) * os.sysconf("SC_PAGE_SIZE")
    monkeypatch.setattr(resource, "getrlimit", lambda which: (used + 10**8, used + 10**8))
    assert 0 < free_memory(CPU) <= 10**8 + used // 10
    assert total_memory() <= used + 10**8
    monkeypatch.setattr(resource, "getrlimit", lambda which: (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    assert [limit for limit, _ in device._limits()] == [limit for limit, _ in device.group_limits()]


def test_the_heap_is_steadied_where_the_c_library_is_glibc(monkeypatch):
    assert device.steady_heap() is (platform.libc_ver()[0] == "glibc")
    monkeypatch.setattr(device.ctypes, "CDLL", lambda name: (_ for _ in ()).throw(OSError(name)))
    assert not device.steady_heap()
