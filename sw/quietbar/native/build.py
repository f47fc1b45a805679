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

SOURCE = Path(__file__).with_name("kernels.cpp")

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
)

SECONDS_TO_COMPILE = 120

POINTER, SIZE, REAL, WORD, COUNT = ctypes.c_void_p, ctypes.c_int64, ctypes.c_double, ctypes.c_uint64, ctypes.c_int
READ_OUT = [POINTER, SIZE, SIZE, POINTER, REAL, WORD, WORD, *[POINTER] * 3, SIZE, SIZE, POINTER, POINTER, COUNT]
QUANTIZE = [POINTER, POINTER, SIZE, POINTER, POINTER, COUNT]


@dataclass(frozen=True)
class Kernels:
    """The functions of ``kernels.cpp``, by the name of the element type.

    Attributes:
        read_out: ``"float32"`` and ``"float64"`` -> the function.
        quantize: the same.
        has_threads: whether they use PyTorch's pool of threads; where it is not GNU OpenMP, they use one thread.
    """

    read_out: dict[str, Any]
    quantize: dict[str, Any]
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
            found, has_threads = _open(_built(("-fopenmp",))), True
        except (_BuildError, OSError):
            found, has_threads = _open(_built(())), False
    except (_BuildError, OSError) as error:
        # Once: what this function gives is kept.
        message = f"quietbar's kernels are not used ({error}); PyTorch gives the same results, more slowly"
        warnings.warn(f"{message}. QUIETBAR_NATIVE=0 in the environment silences this.", RuntimeWarning, stacklevel=2)
        return None, f"PyTorch: {error}"
    for types, arguments in ((found.read_out, READ_OUT), (found.quantize, QUANTIZE)):
        for function in types.values():
            function.argtypes, function.restype = arguments, None
    kept = Kernels(found.read_out, found.quantize, has_threads)
    return kept, f"compiled kernels, {'the threads of PyTorch' if has_threads else 'one thread'}"


def _open(path: Path) -> Kernels:
    library = ctypes.CDLL(str(path))
    by_type = {
        name: {each: getattr(library, f"{name}_{each}") for each in ("float32", "float64")}
        for name in ("read_out", "quantize")
    }
    return Kernels(by_type["read_out"], by_type["quantize"], False)


def _built(extra: tuple[str, ...]) -> Path:
    """The shared library for this source, compiler and machine, from the cache or built into it."""
    from quietbar import toolchain

    compiler = toolchain.compiler()
    if compiler.path is None:
        raise _BuildError(compiler.problem)
    flags = (*FLAGS, *extra)
    facts = (SOURCE.read_text(), str(compiler.path), compiler.version, flags, _processor())
    digest = hashlib.sha256(repr(facts).encode()).hexdigest()[:20]
    target = cache_folder() / f"kernels-{digest}.so"
    if target.is_file():
        return target
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=".build-") as folder:
        part, whole = Path(folder) / "kernels.o", Path(folder) / "kernels.so"
        _run([str(compiler.path), *flags, "-c", str(SOURCE), "-o", str(part)])
        # Linked without -fopenmp: its functions are found in the library that PyTorch has loaded.
        undefined = ["-undefined", "dynamic_lookup"] if platform.system() == "Darwin" else []
        _run([str(compiler.path), "-shared", *undefined, str(part), "-o", str(whole)])
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
