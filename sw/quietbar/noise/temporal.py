"""Temporal noise: a standard normal number for every (seed, image, element), computed from just these three.

Nothing is remembered between calls, so the noise of an image depends neither on the batch it came in, nor on the number
of threads, nor on the device. Four numbers come from each 64-bit word; word ``j`` of a seed is SplitMix64's output
number ``j`` (G. L. Steele, D. Lea, C. H. Flood, "Fast splittable pseudorandom number generators", OOPSLA 2014)::

    z = seed + (j + 1) * 0x9E3779B97F4A7C15                     modulo 2**64
    z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9
    z = (z ^ z >> 27) * 0x94D049BB133111EB
    word = z ^ z >> 31

Each 16-bit part of a word, lowest first, picks one of 65,536 equally likely values: the means of the normal
distribution over slices of equal probability, scaled to variance 1. They reach to 4.39 sigma; the distribution function
differs from the normal one by less than 2**-16. An image of S elements owns ceil(S / 4) words.
"""

from __future__ import annotations

import math
import sys
import threading
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor

from quietbar.native import kernels

PARTS = 4
PART_BITS = 16
LEVELS = 1 << PART_BITS

GAMMA = 0x9E3779B97F4A7C15
STAGES = ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB), (31, None))

CHUNK = 1 << 16
"""Words computed at a time: few enough for the cache, enough for every thread."""

if sys.byteorder != "little":
    raise ImportError("quietbar.noise.temporal takes the parts of a word in little-endian order")


def add_noise_(values: Tensor, sigma: float, seed: int, image: int) -> None:
    """Add ``sigma`` times standard normal numbers to ``values``, in place and unseen by autograd.

    Args:
        values: (images, ...), of any floating type, on any device.
        sigma: standard deviation, in the unit of ``values``.
        seed: 64 bits.
        image: number of the first image in ``values``; the others follow it.
    """
    values = values.detach()
    count, size = values.shape[0], math.prod(values.shape[1:])
    native = kernels() if values.device.type == "cpu" and values.is_contiguous() else None
    if native is None or values.dtype not in (torch.float32, torch.float64):
        add_noise_by_torch_(values, sigma, seed, image)
    elif values.numel():
        function = native.read_out["float32" if values.dtype == torch.float32 else "float64"]
        table, threads = quantiles(values.device).data_ptr(), torch.get_num_threads()
        drawing = (table, sigma, seed, image)
        function(values.data_ptr(), count, size, *drawing, None, None, None, 1, 1, None, None, threads)


def add_noise_by_torch_(values: Tensor, sigma: float, seed: int, image: int) -> None:
    """:func:`add_noise_` without compiled kernels: the definition of every bit, and what other devices use."""
    values = values.detach()
    count, size = values.shape[0], math.prod(values.shape[1:])
    if count == 0 or size == 0:
        return
    table = quantiles(values.device) * sigma
    words = -(-size // PARTS)
    if size % PARTS or not values.is_contiguous():
        noise = torch.empty(count * words * PARTS, device=values.device)
        _fill(noise, table, seed, image * words, accumulate=False)
        values += noise.view(count, words * PARTS)[:, :size].reshape(values.shape).to(values.dtype)
    else:
        _fill(values.view(-1), table, seed, image * words, accumulate=True)


def standard_normal(seed: int, images: int, size: int, image: int = 0) -> Tensor:
    """The numbers that :func:`add_noise_` adds for ``sigma`` 1: float32 (images, size)."""
    values = torch.zeros(images, size)
    add_noise_(values, 1.0, seed, image)
    return values


def _fill(flat: Tensor, table: Tensor, seed: int, first: int, accumulate: bool) -> None:
    """Set ``flat`` to, or raise it by, the entries of ``table`` picked by the words from number ``first`` on."""
    scratch = _scratch(flat.device, threading.get_ident())
    for start in range(0, flat.numel() // PARTS, CHUNK):
        length = min(CHUNK, flat.numel() // PARTS - start)
        word, shifted = scratch.word[:length], scratch.shifted[:length]
        index, noise = scratch.index[: length * PARTS], scratch.noise[: length * PARTS]
        torch.add(scratch.ladder[:length], _signed(seed + (first + start + 1) * GAMMA), out=word)
        for shift, factor in STAGES:
            # torch shifts int64 arithmetically; the mask clears the copies of the sign.
            torch.bitwise_right_shift(word, shift, out=shifted)
            shifted &= (1 << (64 - shift)) - 1
            word ^= shifted
            if factor is not None:
                word *= _signed(factor)
        index.copy_(word.view(torch.uint16))
        torch.index_select(table, 0, index, out=noise)
        target = flat[start * PARTS : (start + length) * PARTS]
        if accumulate:
            target += noise.to(flat.dtype)
        else:
            target.copy_(noise)


def _signed(word: int) -> int:
    """The signed integer with the low 64 bits of ``word``."""
    word &= (1 << 64) - 1
    return word - (1 << 64) if word >> 63 else word


@dataclass(frozen=True)
class _Scratch:
    """Memory for one chunk, kept because asking the system for it takes as long as filling it."""

    ladder: Tensor
    word: Tensor
    shifted: Tensor
    index: Tensor
    noise: Tensor


# Tensors made in inference mode could not be written outside of it.
@lru_cache(maxsize=16)
@torch.inference_mode(False)
def _scratch(device: torch.device, thread: int) -> _Scratch:
    """The memory of one thread; ``ladder`` holds ``j * GAMMA`` for the words of a chunk."""
    return _Scratch(
        ladder=torch.arange(CHUNK, device=device) * _signed(GAMMA),
        word=torch.empty(CHUNK, dtype=torch.int64, device=device),
        shifted=torch.empty(CHUNK, dtype=torch.int64, device=device),
        index=torch.empty(CHUNK * PARTS, dtype=torch.int32, device=device),
        noise=torch.empty(CHUNK * PARTS, dtype=torch.float32, device=device),
    )


@lru_cache(maxsize=16)
@torch.inference_mode(False)
def quantiles(device: torch.device) -> Tensor:
    """The 65,536 values, ascending, float32."""
    edges = torch.special.ndtri(torch.linspace(0, 1, LEVELS + 1, dtype=torch.float64))
    density = torch.exp(-edges.square() / 2) / math.sqrt(2 * math.pi)
    means = (density[:-1] - density[1:]) * LEVELS
    means = (means - means.flip(0)) / 2
    return (means / means.square().mean().sqrt()).float().to(device)
