"""The integers that make up one denoising block, and the order in which the hardware takes them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from quietbar.contract.block import BlockConfig, Stage
from quietbar.contract.errors import require
from quietbar.contract.number import BIAS, WEIGHT_LIMIT
from quietbar.contract.requantize import MULTIPLIER_HIGH, MULTIPLIER_LOW, choose_multiplier
from quietbar.contract.seeds import derive_seed
from quietbar.contract.stream import FrameKind, to_words

from .arithmetic import check_range, check_requantizers
from .uniform import draws


@dataclass(frozen=True, eq=False)
class StageParameters:
    """Weights, biases and requantizers of one stage.

    Attributes:
        weights: int8 [outputs, inputs], in [-127, 127]; the inputs of a 3x3 stage in raster order of the window, those
            of a dense one with the channel fastest: (row, column, channel).
        bias: int32 [outputs], signed 24 bits, in units of the accumulator.
        multiplier: int32 [outputs], 2**15 to 2**16 - 1.
        shift: int32 [outputs], 1 to 47.
    """

    weights: Tensor
    bias: Tensor
    multiplier: Tensor
    shift: Tensor

    def check(self, stage: Stage, where: str) -> None:
        """Refuse what does not fit ``stage``; ``where`` names it in the error."""
        types = {"weights": torch.int8, "bias": torch.int32, "multiplier": torch.int32, "shift": torch.int32}
        shapes = {"weights": (stage.outputs, stage.inputs)}
        for name, dtype in types.items():
            values, shape = getattr(self, name), shapes.get(name, (stage.outputs,))
            given = (values.dtype, tuple(values.shape)) if isinstance(values, Tensor) else type(values)
            require(given == (dtype, shape), f"{where}.{name}", given, f"a {dtype} tensor of shape {shape}")
        check_range(f"{where}.weights", self.weights, -WEIGHT_LIMIT, WEIGHT_LIMIT, axis="output, input")
        check_range(f"{where}.bias", self.bias, BIAS.low, BIAS.high)
        check_requantizers(self.multiplier, self.shift, where)

    @cached_property
    def scale(self) -> Tensor:
        """The requantizers' ratios ``multiplier * 2**-shift``, float64 [outputs], exact."""
        return torch.ldexp(self.multiplier.double(), -self.shift)

    @cached_property
    def scaled_bias(self) -> Tensor:
        """What the requantizer makes of the bias, and its rounding half: ``bias * scale + 1/2``, float64, exact."""
        return self.bias * self.scale + 0.5

    def magnitude(self, stage: Stage) -> int:
        """Bound on every partial and full sum that these very weights can cause."""
        return int((self.weights.long().abs().sum(1) * stage.source.magnitude + self.bias.long().abs()).max())

    def to_dict(self) -> dict[str, Tensor]:
        """The four tensors by name."""
        return {name: getattr(self, name) for name in ("weights", "bias", "multiplier", "shift")}


@dataclass(frozen=True, eq=False)
class BlockParameters:
    """All integers of one denoising block, checked against its configuration.

    Attributes:
        config: the block's shape and mode.
        stages: by the name of each of ``config.stages``, in their order.
        name: of the tap, for errors.

    Raises:
        ConfigurationError: a stage is missing, or a tensor has another type or shape or leaves its range; stage and
            channel are named.
    """

    config: BlockConfig
    stages: Mapping[str, StageParameters]
    name: str = "block"

    def __post_init__(self) -> None:
        expected = tuple(stage.name for stage in self.config.stages)
        require(tuple(self.stages) == expected, f"{self.name}.stages", tuple(self.stages), f"{expected}")
        for stage in self.config.stages:
            self.stages[stage.name].check(stage, f"{self.name}.{stage.name}")

    def equal(self, other: BlockParameters) -> bool:
        """Whether configuration and every integer are the same."""
        return self.config == other.config and all(
            torch.equal(tensor, other.stages[name].to_dict()[field])
            for name, stage in self.stages.items()
            for field, tensor in stage.to_dict().items()
        )


def parameter_frame(config: BlockConfig, parameters: BlockParameters) -> list[int]:
    """The configuration frame that loads a block, as unsigned 32-bit words; see ``quietbar.contract.stream``."""
    require(parameters.config == config, "parameters.config", parameters.config, f"{config}")
    values: list[int] = [FrameKind.PARAMETERS]
    for stage in parameters.stages.values():
        for tensor in stage.to_dict().values():
            values += tensor.flatten().tolist()
    return to_words(values)


def random_parameters(config: BlockConfig, seed: int) -> BlockParameters:
    """Parameters for tests, the same on every machine: full ranges, extremes in, outputs that seldom saturate.

    Weights and biases are uniform over their closed ranges, one in eight of them an extreme. Ratios are such that a
    typical accumulator spans a good part of the target's range; the multipliers fill their range.
    """
    stages = {}
    for stage in config.stages:

        def uniform(field: str, count: int, low: int, high: int, name: str = stage.name) -> Tensor:
            return _uniform(derive_seed(seed, name, field), count, low, high)

        # The deviation of a sum of uniform weights times uniform activations; the biases are of the same order.
        deviation = WEIGHT_LIMIT * stage.source.magnitude * stage.inputs**0.5 / 3
        bias = min(int(deviation), BIAS.high)
        # A noise as large as the signal would drive every output into saturation, hence the headroom.
        headroom = 4.0 if stage.name == "mean" else 2.0
        ratio = stage.target.magnitude / (headroom * deviation)
        middle = int(stage.target.high / 2 / ratio) if stage.name == "log_sigma" else 0
        stages[stage.name] = StageParameters(
            uniform("weights", stage.weights, -WEIGHT_LIMIT, WEIGHT_LIMIT).view(stage.outputs, -1).to(torch.int8),
            (uniform("bias", stage.outputs, -bias, bias) + middle).clamp(BIAS.low, BIAS.high).to(torch.int32),
            uniform("multiplier", stage.outputs, MULTIPLIER_LOW, MULTIPLIER_HIGH).to(torch.int32),
            torch.full((stage.outputs,), choose_multiplier(ratio)[1], dtype=torch.int32),
        )
    return BlockParameters(config, stages)


def _uniform(seed: int, count: int, low: int, high: int) -> Tensor:
    """Integers int64 [count] of the closed range [low, high], one in eight of them one of its ends."""
    values, choices = draws(seed, 2 * count).reshape(2, count)
    spread = low + (values % (high - low + 1)).astype(np.int64)
    return torch.from_numpy(np.select([choices % 16 == 0, choices % 16 == 1], [low, high], spread))
