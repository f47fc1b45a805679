"""From a trained block in floating point to its integers.

Scheme: symmetric, zero point 0; one scale per activation tensor, one per output channel of the weights; biases in units
of the accumulator (Jacob et al., arXiv 1712.05877, section 2, with zero points 0).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields

import torch
from torch import Tensor
from torch.nn.functional import conv2d

from quietbar.contract.block import LOG_SIGMA_STEPS, BlockConfig, Stage
from quietbar.contract.errors import require
from quietbar.contract.gaussian import SIGMA_FRACTION_BITS
from quietbar.contract.number import BIAS, WEIGHT_LIMIT
from quietbar.contract.requantize import MULTIPLIER_LOW, SHIFT_HIGH, choose_multiplier

from .parameters import BlockParameters, StageParameters

FloatStages = Mapping[str, tuple[Tensor, Tensor]]
"""(weight, bias) by stage name, as ``quietbar.denoise.DenoisingBlock.folded`` returns them."""

LEAST_RATIO = MULTIPLIER_LOW * 2.0**-SHIFT_HIGH


@dataclass(frozen=True)
class Scales:
    """What one integer step is worth at each activation tensor of a block: ``real = scale * integer``.

    Attributes:
        activation: at the tap, in and out.
        reduce: at h1.
        spatial: at h2.
    """

    activation: float
    reduce: float
    spatial: float

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            positive = isinstance(value, float) and math.isfinite(value) and value > 0
            require(positive, f"scales.{field.name}", value, "a finite number above 0")

    def to_dict(self) -> dict[str, float]:
        """The fields as plain values, for manifests."""
        return asdict(self)


def hidden_activations(stages: FloatStages, activations: Tensor) -> tuple[Tensor, Tensor]:
    """The block's h1 and h2 in floating point, (N, hidden, H, W), for activations (N, channels, H, W)."""
    weight, bias = stages["reduce"]
    h1 = conv2d(activations, weight, bias).relu_()
    weight, bias = stages["spatial"]
    return h1, conv2d(h1, weight, bias, padding=1, groups=h1.shape[1] // weight.shape[1]).relu_()


def quantize_block(config: BlockConfig, stages: FloatStages, scales: Scales, name: str = "block") -> BlockParameters:
    """The integers of a block.

    Args:
        config: its shape and mode.
        stages: its folded weights (outputs, inputs / groups, rows, columns) and biases (outputs).
        scales: of its activations.
        name: of the tap, for errors.

    Raises:
        ConfigurationError: a stage does not fit ``config``, is not finite, or needs a multiplier outside the hardware's
            range; tap, stage and channel are named.
    """
    step = scales.activation
    sources = {"reduce": step, "spatial": scales.reduce, "mean": scales.spatial, "log_sigma": scales.spatial}
    targets = {
        "reduce": scales.reduce,
        "spatial": scales.spatial,
        "mean": step * 2.0**-config.fraction_bits,
        "log_sigma": 1 / LOG_SIGMA_STEPS,
    }
    # `ell` counts eighths of an octave from 2**-8 steps up.
    offsets = {"log_sigma": SIGMA_FRACTION_BITS - math.log2(step)}
    integers = {}
    for stage in config.stages:
        where = f"{name}.{stage.name}"
        require(stage.name in stages, where, None, "given: the block's configuration has this stage")
        weight, bias = stages[stage.name]
        integers[stage.name] = quantize_stage(
            stage, weight, bias + offsets.get(stage.name, 0.0), sources[stage.name], targets[stage.name], where
        )
    return BlockParameters(config, integers, name)


def quantize_stage(
    stage: Stage, weight: Tensor, bias: Tensor, source_scale: float, target_scale: float, where: str
) -> StageParameters:
    """The integers of one stage: ``target = bias + weight * source`` becomes integers of those scales.

    A channel's weight scale is the least that holds its largest weight in 127 steps; it is widened where the bias would
    leave the contract's format or the ratio of scales fall below the least that the requantizer has.
    """
    given = (tuple(weight.shape[:1]), weight[0].numel() if len(weight) else 0, tuple(bias.shape))
    expected = ((stage.outputs,), stage.inputs, (stage.outputs,))
    require(given == expected, where, given, f"{expected}: outputs, inputs of each, biases")
    weight, bias = weight.detach().double().cpu(), bias.detach().double().cpu()
    if weight.dim() == 4:
        weight = weight.permute(0, 2, 3, 1)
    weight = weight.reshape(stage.outputs, stage.inputs)
    for channel in range(stage.outputs):
        finite = bool(weight[channel].isfinite().all() and bias[channel].isfinite())
        require(finite, f"{where}, channel {channel}", "nan or inf", "finite weights and a finite bias")

    by_weight = weight.abs().amax(1) / WEIGHT_LIMIT
    by_bias = bias.abs() / (source_scale * BIAS.high)
    by_ratio = torch.full_like(bias, LEAST_RATIO * target_scale / source_scale)
    scale = torch.stack([by_weight, by_bias, by_ratio]).amax(0)
    chosen = [
        choose_multiplier(ratio, f"{where}, channel {channel}")
        for channel, ratio in enumerate((scale * source_scale / target_scale).tolist())
    ]
    multiplier, shift = torch.tensor(chosen, dtype=torch.int32).unbind(1)
    return StageParameters(
        weights=(weight / scale[:, None]).round().clamp(-WEIGHT_LIMIT, WEIGHT_LIMIT).to(torch.int8),
        bias=(bias / (source_scale * scale)).round().clamp(BIAS.low, BIAS.high).to(torch.int32),
        multiplier=multiplier.clone(),
        shift=shift.clone(),
    )
