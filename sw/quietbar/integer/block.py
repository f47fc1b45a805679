"""The denoising block in integers, on whole batches: what the hardware computes, output for output."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, overload

import torch
from torch import Tensor

from quietbar.contract.block import SIGMA, BlockConfig
from quietbar.contract.errors import require, require_integer
from quietbar.contract.sources import Kind, check_kind

from .arithmetic import check_range, is_integral, round_shift
from .convolution import accumulate, requantize_stage, run_stage
from .parameters import BlockParameters
from .sources import source_array

FRAME_HIGH = (1 << 32) - 1
"""Largest number of a frame."""

SAMPLE_HIGH = (1 << 62) - 1
"""Largest number of a sample that frames may start at."""

CHUNK_ELEMENTS = 1 << 18
"""Activations that go through all stages together, so that the intermediate tensors stay in the processor's cache."""


@dataclass(frozen=True, eq=False)
class BlockTrace:
    """Every intermediate integer of a run, int64 [N, channels, height, width].

    Attributes:
        accumulators: by stage name: weighted sum plus bias.
        outputs: by stage name: ``reduce`` is h1, ``spatial`` h2, ``mean`` mu, ``log_sigma`` ell.
        samples: the Gaussian samples eps; None in mean mode.
        noise: the noise n that is subtracted.
    """

    accumulators: dict[str, Tensor]
    outputs: dict[str, Tensor]
    samples: Tensor | None
    noise: Tensor


@overload
def run_block(
    config: BlockConfig,
    parameters: BlockParameters,
    activations: Tensor,
    seed: int = 0,
    start_frame: int = 0,
    trace: Literal[False] = False,
    start_sample: int = 0,
    source: Kind = "box-muller",
) -> Tensor: ...
@overload
def run_block(
    config: BlockConfig,
    parameters: BlockParameters,
    activations: Tensor,
    seed: int = 0,
    start_frame: int = 0,
    *,
    trace: Literal[True],
    start_sample: int = 0,
    source: Kind = "box-muller",
) -> tuple[Tensor, BlockTrace]: ...
def run_block(
    config: BlockConfig,
    parameters: BlockParameters,
    activations: Tensor,
    seed: int = 0,
    start_frame: int = 0,
    trace: bool = False,
    start_sample: int = 0,
    source: Kind = "box-muller",
) -> Tensor | tuple[Tensor, BlockTrace]:
    """Denoise frames of integers, exactly as ``quietbar.contract.block`` says.

    Args:
        config: the block's shape and mode.
        parameters: its integers.
        activations: integers [N, channels, height, width] in ``config.activation``'s range, in any integer type that
            holds that range.
        seed: of the Gaussian source (sampling mode).
        start_frame: frames of ``seed`` that came before, so that a batch may be cut at will.
        trace: also return every intermediate integer.
        start_sample: samples of ``seed`` that were drawn before frame 0, as where frames of several blocks share a
            source.
        source: which Gaussian source the hardware has (sampling mode).

    Returns:
        The denoised activations, shape and type as given; with ``trace``, those and a :class:`BlockTrace`.

    Raises:
        ConfigurationError: activations, seed or frame are not as above; the field is named.
    """
    check_activations(config, activations, parameters.name)
    require(parameters.config == config, f"{parameters.name}.config", parameters.config, f"{config}")
    require_integer("start_frame", start_frame, 0, FRAME_HIGH)
    require_integer("start_sample", start_sample, 0, SAMPLE_HIGH)
    check_kind(source, "source")
    elements = config.channels * config.pixels
    with torch.no_grad():
        if trace:
            denoised, steps = _run_plainly(
                config, parameters, activations.long(), seed, start_sample + start_frame * elements, source
            )
            return denoised.to(activations.dtype), steps
        found = torch.empty_like(activations)
        frames = max(1, CHUNK_ELEMENTS // elements)
        for first in range(0, len(activations), frames):
            chunk = activations[first : first + frames].double().contiguous()
            sample = start_sample + (start_frame + first) * elements
            found[first : first + frames] = _run(config, parameters, chunk, seed, sample, source)
        return found


def check_activations(config: BlockConfig, activations: Tensor, where: str = "block") -> None:
    """Refuse what is not a batch of integer frames [N, channels, height, width] in the tap's format."""
    name, target = f"{where}.activations", config.activation
    require(isinstance(activations, Tensor) and is_integral(activations), name,
            getattr(activations, "dtype", type(activations)), "a tensor of integers")  # fmt: skip
    shape = ("N", config.channels, config.height, config.width)
    given = tuple(activations.shape)
    require(len(given) == 4 and given[1:] == shape[1:], f"{name}.shape", given, f"({', '.join(map(str, shape))})")
    info = torch.iinfo(activations.dtype)
    holds = info.min <= target.low and target.high <= info.max
    require(holds, f"{name}.dtype", activations.dtype, f"a type that holds {target.low} to {target.high}")
    check_range(name, activations, target.low, target.high, axis="element")


def _samples(config: BlockConfig, source: Kind, seed: int, first_sample: int, frames: int) -> Tensor:
    """One sample per output: int16 [frames, channels, height, width], drawn in order (frame, row, column, channel)."""
    elements = config.channels * config.pixels
    drawn = torch.from_numpy(source_array(source, seed, frames * elements, first_sample))
    return drawn.reshape(frames, config.height, config.width, config.channels).permute(0, 3, 1, 2)


def _run(
    config: BlockConfig, parameters: BlockParameters, activations: Tensor, seed: int, first_sample: int, source: Kind
) -> Tensor:
    """Frames denoised, integers in float64 [N, channels, height, width]; every step is exact."""

    def run(name: str, values: Tensor) -> Tensor:
        return run_stage(config.stage(name), parameters.stages[name], values)

    hidden = run("spatial", run("reduce", activations))
    noise = run("mean", hidden)
    if config.mode == "sampling":
        sigma = torch.tensor(SIGMA, dtype=torch.float64).mul_(2.0**-config.noise_shift)
        log_sigma = run("log_sigma", hidden).long()
        scaled = sigma.index_select(0, log_sigma.view(-1)).view_as(log_sigma)
        noise += scaled.mul_(_samples(config, source, seed, first_sample, len(activations))).add_(0.5).floor_()
    found = noise.mul_(-(2.0**-config.fraction_bits)).add_(activations).add_(0.5).floor_()
    return found.clamp_(config.activation.low, config.activation.high)


def _run_plainly(
    config: BlockConfig, parameters: BlockParameters, activations: Tensor, seed: int, first_sample: int, source: Kind
) -> tuple[Tensor, BlockTrace]:
    """Frames denoised, int64 [N, channels, height, width], as the contract words it, and every intermediate integer."""
    accumulators: dict[str, Tensor] = {}
    outputs: dict[str, Tensor] = {}

    def run(name: str, values: Tensor) -> Tensor:
        stage, integers = config.stage(name), parameters.stages[name]
        accumulators[name] = accumulate(stage, integers, values)
        outputs[name] = requantize_stage(stage, integers, accumulators[name], f"{parameters.name}.{name}")
        return outputs[name]

    hidden = run("spatial", run("reduce", activations))
    noise, samples = run("mean", hidden), None
    if config.mode == "sampling":
        samples = _samples(config, source, seed, first_sample, len(activations)).long()
        sigma = torch.tensor(SIGMA)[run("log_sigma", hidden)]
        noise = noise + round_shift(sigma * samples, config.noise_shift)
    found = round_shift((activations << config.fraction_bits) - noise, config.fraction_bits)
    found = found.clamp(config.activation.low, config.activation.high)
    return found, BlockTrace(accumulators, outputs, samples, noise)
