"""Compiled kernels give the bits of the PyTorch code that they stand in for, and are built safely."""

import copy
import math
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from quietbar import native, toolchain
from quietbar.analog import readout
from quietbar.analog.grid import Grid
from quietbar.analog.readout import Columns, Noise
from quietbar.native import build
from quietbar.noise import temporal

needs_kernels = pytest.mark.skipif(native.kernels() is None, reason=f"no compiled kernels: {native.status()}")

SHAPES = st.sampled_from(
    [(1, 1), (3, 10), (2, 7, 3), (5, 3, 5, 7), (2, 16, 32, 32), (1, 4, 33, 31), (0, 4, 3, 3), (2, 0, 3), (2, 8193)]
)
TYPES = st.sampled_from([torch.float32, torch.float64])
SEEDS = st.one_of(st.integers(0, (1 << 64) - 1), st.sampled_from([0, (1 << 64) - 1]))
IMAGES = st.one_of(st.integers(0, 1 << 40), st.just((1 << 63) - 1))
GRIDS = st.one_of(
    st.builds(Grid.signed, st.integers(2, 16), st.floats(1e-3, 100)),
    st.builds(Grid.unsigned, st.integers(1, 16), st.floats(1e-3, 100)),
)


def values_of(shape, dtype, seed):
    values = torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) * 3
    flat = values.view(-1)
    special = torch.tensor([0.0, -0.0, math.nan, math.inf, -math.inf, 0.5, -0.5, 1e30, 1e-45, -1e-45])
    flat[: len(special)] = special[: flat.numel()]
    return values.to(dtype)


def same_bits(one, two):
    kind = {torch.float32: torch.int32, torch.float64: torch.int64}.get(one.dtype, one.dtype)
    return one.shape == two.shape and torch.equal(one.contiguous().view(kind), two.contiguous().view(kind))


@needs_kernels
@settings(max_examples=150, deadline=None)
@given(SHAPES, TYPES, SEEDS, IMAGES, st.one_of(st.none(), GRIDS), st.integers(0, 15), st.sampled_from([1, 2, 3]))
def test_reading_out_gives_the_same_bits(shape, dtype, seed, image, grid, parts, threads):
    result = values_of(shape, dtype, parts)
    columns = None
    if parts & 1:
        dimension = -1 if len(shape) == 2 else 1
        gain = 1 + values_of((shape[dimension],), dtype, 1).nan_to_num(0.1, 0.1, 0.1).clamp(-2, 2) / 10
        columns = Columns(gain if parts & 2 else None, gain - 1, dimension)
    variance = values_of(shape, dtype, 7) if parts & 4 else None
    noise = Noise(0.37, seed, image, variance) if parts & 8 else None

    expected, expected_inside = result.clone(), torch.zeros(shape, dtype=torch.bool)
    readout._read_out_by_torch(expected, noise, grid, columns, True, expected_inside)
    inside = torch.zeros(shape, dtype=torch.bool)
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        readout._read_out(result, noise, grid, columns, True, inside if grid else None)
    finally:
        torch.set_num_threads(before)
    assert same_bits(result, expected)
    assert grid is None or torch.equal(inside, expected_inside)


@needs_kernels
@settings(max_examples=100, deadline=None)
@given(SHAPES, TYPES, GRIDS, st.integers(0, 100))
def test_quantizing_gives_the_same_bits(shape, dtype, grid, seed):
    values = values_of(shape, dtype, seed)
    inside, expected_inside = (torch.zeros(shape, dtype=torch.bool) for _ in range(2))
    expected = readout._quantize_by_torch(values, grid, expected_inside, out=None)
    assert same_bits(readout._quantize(values, grid, inside), expected)
    assert torch.equal(inside, expected_inside)


@needs_kernels
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("size", [1, 5, 4096, 4 * temporal.CHUNK + 7])
def test_noise_has_the_same_bits_whatever_the_threads(dtype, size):
    expected = torch.zeros(3, size, dtype=dtype)
    temporal.add_noise_by_torch_(expected, 0.3, 5, 11)
    for threads in (1, 2, 4):
        torch.set_num_threads(threads)
        try:
            values = torch.zeros(3, size, dtype=dtype)
            temporal.add_noise_(values, 0.3, 5, 11)
        finally:
            torch.set_num_threads(1)
        assert same_bits(values, expected)


@needs_kernels
def test_a_layout_the_kernels_do_not_know_gives_the_same_bits():
    grid, noise = Grid.signed(8, 3.0), Noise(0.3, 5, 2)
    plain = values_of((2, 4, 3, 5), torch.float32, 1)
    strided = plain.clone().to(memory_format=torch.channels_last)
    columns = Columns(torch.linspace(0.9, 1.1, 4), torch.linspace(-1, 1, 4))
    assert same_bits(readout.quantize(strided, grid), readout.quantize(plain, grid))
    assert same_bits(readout.read_out_(strided, noise, grid, columns), readout.read_out_(plain, noise, grid, columns))


@needs_kernels
def test_an_image_without_a_batch_is_read_out_as_image_of_a_batch():
    grid, noise = Grid.signed(8, 3.0), Noise(0.3, 5, 2)
    batch = values_of((3, 4, 5, 5), torch.float32, 1)
    one = readout.read_out_(batch[1].clone(), Noise(0.3, 5, 3), grid, has_batch=False)
    assert same_bits(one, readout.read_out_(batch, noise, grid)[1])


@needs_kernels
@pytest.mark.parametrize(
    ("sound", "faulty"),
    [
        ("std::floor(value * grid.inverse + T(0.5))", "std::nearbyint(value * grid.inverse)"),
        ("z = (z ^ (z >> 27)) * 0x94D049BB133111EBu", "z = (z ^ (z >> 28)) * 0x94D049BB133111EBu"),
        ("given = variance[at + k]", "given = variance[k]"),
        ("given < T(0) ? T(0) : given", "given"),
        ("const int64_t count = std::min(size - start, BLOCK * PARTS)", "const int64_t count = size - start - 1"),
        ("column = place % columns", "column = (place + 1) % columns"),
    ],
    ids=[
        "other rounding",
        "other mixing",
        "variance of another image",
        "rounding below zero",
        "last element forgotten",
        "next column",
    ],
)
def test_a_fault_planted_in_the_kernels_is_caught(plant, sound, faulty):
    plant("kernels.cpp", sound, faulty)
    result = torch.arange(30.0).view(3, 2, 5) / 4
    expected = result.clone()
    columns = Columns(torch.tensor([0.5, 2.0]), torch.tensor([1.0, -1.0]))
    arguments = (Noise(1.0, 5, 2, result - 3), Grid.signed(6, 15.5), columns, True, None)
    readout._read_out_by_torch(expected, *arguments)
    readout._read_out(result, *arguments)
    grid, halves = Grid(1.0, -8, 8), torch.tensor([0.5, 1.5, 2.5])
    caught = not same_bits(readout.quantize(halves, grid), readout._quantize_by_torch(halves, grid, None, None))
    assert caught or not same_bits(result, expected)


# Gradients


@pytest.mark.parametrize("code", ["1", "0"], ids=["compiled", "PyTorch"])
def test_gradients_pass_the_rounding_and_stop_at_the_ends(monkeypatch, code):
    monkeypatch.setenv("QUIETBAR_NATIVE", code)
    values = torch.tensor([[-2.0, -1.0, -0.3, 0.2, 1.0, 1.1]], requires_grad=True)
    grid = Grid.signed(4, 1.0)
    readout.quantize(values, grid).backward(torch.arange(1.0, 7)[None])
    assert values.grad.tolist() == [[0, 2, 3, 4, 5, 0]]
    values.grad = None
    columns = Columns(torch.tensor([2.0] * 6), None, -1)
    read = readout.read_out_(values * 1.0, None, Grid.signed(4, 2.0), columns)
    read.backward(torch.arange(1.0, 7)[None])
    assert values.grad.tolist() == [[0, 4, 6, 8, 10, 0]]


def test_nothing_is_kept_where_nothing_is_clipped():
    kept = []
    with torch.autograd.graph.saved_tensors_hooks(lambda tensor: kept.append(tensor) or tensor, lambda tensor: tensor):
        readout.quantize(torch.rand(100, requires_grad=True), Grid.unsigned(8, 1.0))
        assert kept == []
        readout.quantize(torch.rand(100, requires_grad=True), Grid.unsigned(8, 0.5))
    assert [tensor.dtype for tensor in kept] == [torch.bool]


# Building


def test_the_environment_can_leave_the_kernels_out(monkeypatch):
    monkeypatch.setenv("QUIETBAR_NATIVE", "0")
    assert native.kernels() is None and native.status() == "PyTorch: QUIETBAR_NATIVE is 0"


@pytest.fixture
def empty_cache(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    build._load.cache_clear()
    yield tmp_path / "quietbar" / "native"
    build._load.cache_clear()


def test_without_a_compiler_pytorch_does_the_work_and_says_so(monkeypatch, empty_cache):
    missing = toolchain.select("g++", "10", "simulation", "install it", [])
    monkeypatch.setattr(toolchain, "compiler", lambda: missing)
    with pytest.warns(RuntimeWarning, match=r"g\+\+ 10 or newer.*same results, more slowly") as warned:
        assert native.kernels() is None
        assert native.kernels() is None
    assert len(warned) == 1, "once"
    assert native.status() == "PyTorch: g++ 10 or newer, needed for simulation, was not found"
    values = torch.zeros(2, 9)
    temporal.add_noise_(values, 1.0, 5, 0)
    assert torch.equal(values, temporal.standard_normal(5, 2, 9))


def test_a_source_that_does_not_compile_is_no_error(monkeypatch, empty_cache, tmp_path):
    (tmp_path / "broken.cpp").write_text("int main( {")
    monkeypatch.setattr(build, "SOURCES", (tmp_path / "broken.cpp",))
    with pytest.warns(RuntimeWarning, match="could not compile the kernels"):
        assert native.kernels() is None
    assert "could not compile the kernels" in native.status()
    assert list(empty_cache.iterdir()) == []


def test_a_cache_that_cannot_be_written_is_no_error(monkeypatch, tmp_path):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    build._load.cache_clear()
    try:
        with pytest.warns(RuntimeWarning, match="kernels are not used"):
            assert native.kernels() is None
        assert native.status().startswith("PyTorch: ")
    finally:
        build._load.cache_clear()


@needs_kernels
def test_processes_and_threads_may_build_at_once(empty_cache):
    program = "from quietbar import native; assert native.kernels().has_threads"
    running = [subprocess.Popen([sys.executable, "-c", program]) for _ in range(2)]
    barrier = threading.Barrier(2)
    with ThreadPoolExecutor(2) as pool:
        found = list(pool.map(lambda _: (barrier.wait(), native.kernels())[1], range(2)))
    assert found[0] is found[1] is not None
    assert [process.wait() for process in running] == [0, 0]
    assert [path.suffix for path in empty_cache.iterdir()] == [".so"]


@needs_kernels
def test_another_compiler_or_source_gets_a_library_of_its_own(monkeypatch, empty_cache):
    first = build._built(())
    compiler = copy.copy(toolchain.compiler())
    monkeypatch.setattr(toolchain, "compiler", lambda: compiler.__class__(**{**vars(compiler), "version": "99"}))
    assert build._built(()) != first and build._built(()).exists()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Grid(0.0, -1, 1), "grid.step = 0.0: must be a number above 0"),
        (lambda: Grid(math.nan, -1, 1), "grid.step = nan: must be a number above 0"),
        (lambda: Grid(True, -1, 1), "grid.step = True: must be a number above 0"),
        (lambda: Grid(1.0, 1, 2), "grid.low = 1: must be an integer from -65536 to 0"),
        (lambda: Grid(1.0, 0, 0), "grid.high = 0: must be an integer from 1 to 65536"),
        (lambda: Grid.signed(1, 1.0), "grid.bits = 1: must be an integer from 2 to 16"),
        (lambda: Grid.unsigned(17, 1.0), "grid.bits = 17: must be an integer from 1 to 16"),
        (lambda: Grid.signed(8, -1.0), "grid.step = -0.007874015748031496: must be a number above 0"),
    ],
)
def test_a_bad_grid_is_refused_by_name(make, message):
    with pytest.raises(ValueError) as raised:
        make()
    assert str(raised.value) == message
