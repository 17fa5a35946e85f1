from __future__ import annotations

import platform

import pytest
import torch

from napari_limn import device
from napari_limn.device import choose_device, choose_precision, fast_bfloat16, free_memory, parse_bytes
from napari_limn.errors import LimnError

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


def test_the_heap_is_steadied_where_the_c_library_is_glibc(monkeypatch):
    assert device.steady_heap() is (platform.libc_ver()[0] == "glibc")
    monkeypatch.setattr(device.ctypes, "CDLL", lambda name: (_ for _ in ()).throw(OSError(name)))
    assert not device.steady_heap()
