"""Compiling, keeping and loading the kernels."""

from __future__ import annotations

import ctypes
import functools
import hashlib
import os
import platform
import subprocess
import tempfile
import threading
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch  # noqa: F401 - brings the pool of threads that the kernels share with it

from quietbar.contract import gaussian, inverse_cdf
from quietbar.contract.uniform import LFSR161, LFSR258

SOURCES = tuple(Path(__file__).with_name(name) for name in ("kernels.cpp", "gaussian.cpp"))

CONSTANTS = {
    "RADIUS_BITS": gaussian.RADIUS_BITS,
    "ANGLE_BITS": gaussian.ANGLE_BITS,
    "SIGN_OF_FIRST_BIT": gaussian.SIGN_OF_FIRST_BIT,
    "SIGN_OF_SECOND_BIT": gaussian.SIGN_OF_SECOND_BIT,
    "PRODUCT_SHIFT": gaussian.PRODUCT_SHIFT,
    "LOGARITHM_INDEX_BITS": gaussian.LOGARITHM.index_bits,
    "LOGARITHM_REST_BITS": gaussian.LOGARITHM.rest_bits,
    "ROOT_INDEX_BITS": gaussian.SQUARE_ROOT.index_bits,
    "ROOT_REST_BITS": gaussian.SQUARE_ROOT.rest_bits,
    "SINE_REST_BITS": gaussian.SINE.rest_bits,
    "BOX_MULLER_COMPONENTS": len(LFSR258.components),
    "SIGN_BIT": inverse_cdf.SIGN_BIT,
    "FINE_BITS": inverse_cdf.FINE_BITS,
    "PLACE_BITS": inverse_cdf.PLACE_BITS,
    "BASE_BITS": inverse_cdf.BASE_BITS,
    "SLOPE_BITS": inverse_cdf.SLOPE_BITS,
    "CURVE_SHIFT": inverse_cdf.CURVE_SHIFT,
    "SLOPE_SHIFT": inverse_cdf.SLOPE_SHIFT,
    "MAGNITUDE_SHIFT": inverse_cdf.MAGNITUDE_SHIFT,
    "INVERSE_CDF_COMPONENTS": len(LFSR161.components),
}
"""What ``gaussian.cpp`` has from the contract."""

FLAGS = (
    "-std=c++17",
    "-O3",
    "-fPIC",
    "-march=native",
    # Neither fused nor reordered: the results may not depend on the compiler or the machine.
    "-ffp-contract=off",
    # What these two give up are error flags that nobody reads; without them floor() is not vectorized.
    "-fno-trapping-math",
    "-fno-math-errno",
    *(f"-D{name}={value}" for name, value in CONSTANTS.items()),
)

SECONDS_TO_COMPILE = 120

POINTER, SIZE, REAL, WORD, COUNT = ctypes.c_void_p, ctypes.c_int64, ctypes.c_double, ctypes.c_uint64, ctypes.c_int
READ_OUT = [POINTER, SIZE, SIZE, POINTER, REAL, WORD, WORD, *[POINTER] * 3, SIZE, SIZE, POINTER, POINTER, COUNT]
QUANTIZE = [POINTER, POINTER, SIZE, POINTER, POINTER, COUNT]
LEAP_MATRICES = [POINTER, SIZE, POINTER]
BOX_MULLER = [POINTER, SIZE, POINTER, WORD, *[POINTER] * 6, COUNT]
INVERSE_CDF = [POINTER, SIZE, POINTER, WORD, *[POINTER] * 3, COUNT]


@dataclass(frozen=True)
class Kernels:
    """The functions of ``kernels.cpp``, by the name of the element type, and of ``gaussian.cpp``.

    Attributes:
        read_out: ``"float32"`` and ``"float64"`` -> the function.
        quantize: the same.
        leap_matrices, box_muller, inverse_cdf: the functions of these names.
        has_threads: whether they use PyTorch's pool of threads; where it is not GNU OpenMP, they use one thread.
    """

    read_out: dict[str, Any]
    quantize: dict[str, Any]
    leap_matrices: Any
    box_muller: Any
    inverse_cdf: Any
    has_threads: bool


class _BuildError(Exception):
    pass


_lock = threading.Lock()


def kernels() -> Kernels | None:
    """The kernels, compiled if need be; None where PyTorch has to do the work."""
    return _attempt()[0]


def status() -> str:
    """Which code does the element-wise work, and why."""
    return _attempt()[1]


def _attempt() -> tuple[Kernels | None, str]:
    with _lock:  # two threads would compile twice
        return _load(os.environ.get("QUIETBAR_NATIVE", "1"))


@functools.cache
def _load(wanted: str) -> tuple[Kernels | None, str]:
    if wanted == "0":
        return None, "PyTorch: QUIETBAR_NATIVE is 0"
    try:
        # With PyTorch's own pool of threads where that is GNU OpenMP; two pools would fight for the cores.
        try:
            found = _open(_built(("-fopenmp",)), has_threads=True)
        except (_BuildError, OSError):
            found = _open(_built(()), has_threads=False)
    except (_BuildError, OSError) as error:
        # Once: what this function gives is kept.
        message = f"quietbar's kernels are not used ({error}); PyTorch gives the same results, more slowly"
        warnings.warn(f"{message}. QUIETBAR_NATIVE=0 in the environment silences this.", RuntimeWarning, stacklevel=2)
        return None, f"PyTorch: {error}"
    return found, f"compiled kernels, {'the threads of PyTorch' if found.has_threads else 'one thread'}"


def _open(path: Path, has_threads: bool) -> Kernels:
    library = ctypes.CDLL(str(path))

    def function(name: str, arguments: list[Any]) -> Any:
        found = getattr(library, name)
        found.argtypes, found.restype = arguments, None
        return found

    types = ("float32", "float64")
    return Kernels(
        {each: function(f"read_out_{each}", READ_OUT) for each in types},
        {each: function(f"quantize_{each}", QUANTIZE) for each in types},
        function("leap_matrices", LEAP_MATRICES),
        function("box_muller", BOX_MULLER),
        function("inverse_cdf", INVERSE_CDF),
        has_threads,
    )


def _built(extra: tuple[str, ...]) -> Path:
    """The shared library for these sources, compiler and machine, from the cache or built into it."""
    from quietbar import toolchain

    compiler = toolchain.compiler()
    if compiler.path is None:
        raise _BuildError(compiler.problem)
    flags = (*FLAGS, *extra)
    sources = [source.read_text() for source in SOURCES]
    facts = (sources, str(compiler.path), compiler.version, flags, _processor())
    digest = hashlib.sha256(repr(facts).encode()).hexdigest()[:20]
    target = cache_folder() / f"kernels-{digest}.so"
    if target.is_file():
        return target
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=".build-") as folder:
        parts, whole = [Path(folder) / f"{source.stem}.o" for source in SOURCES], Path(folder) / "kernels.so"
        for source, part in zip(SOURCES, parts, strict=True):
            _run([str(compiler.path), *flags, "-c", str(source), "-o", str(part)])
        # Linked without -fopenmp: its functions are found in the library that PyTorch has loaded.
        undefined = ["-undefined", "dynamic_lookup"] if platform.system() == "Darwin" else []
        _run([str(compiler.path), "-shared", *undefined, *map(str, parts), "-o", str(whole)])
        os.replace(whole, target)  # whole or not at all, however many processes build at once
    return target


def _run(command: list[str]) -> None:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS_TO_COMPILE)
    except (OSError, subprocess.SubprocessError) as error:
        raise _BuildError(f"{command[0]} could not be run: {error}") from error
    if done.returncode:
        first = next((line for line in done.stderr.splitlines() if "error" in line), f"exit status {done.returncode}")
        raise _BuildError(f"{command[0]} could not compile the kernels: {first.strip()}")


def cache_folder() -> Path:
    """Where compiled kernels are kept."""
    base = os.environ.get("XDG_CACHE_HOME", "")
    return (Path(base) if os.path.isabs(base) else Path.home() / ".cache") / "quietbar" / "native"


def _processor() -> str:
    """What ``-march=native`` depends on: a cache may be on a disk that several machines share."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return f"{platform.machine()} {platform.processor()}"
    named = ("model name", "flags", "Features", "CPU part")
    return "\n".join(dict.fromkeys(line for line in lines if line.startswith(named)))
