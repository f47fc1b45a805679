"""The denoising block: its shape, the integer format of every edge in it, and its cost.

A block reads the activations ``a`` at a tap (``channels`` deep) and emits them denoised, in the same format::

    h1  = requantize(conv1x1(a))          unsigned 8 bits, so the clamp is the ReLU
    h2  = requantize(conv3x3(h1))         unsigned 8 bits, zero padding 1, dense or depthwise
    mu  = requantize(conv1x1(h2))         the mean of the noise, `fraction_bits` below one activation step
    ell = requantize(conv1x1(h2))         sampling mode: log2 of its deviation, an index into `SIGMA`
    n   = mu + scaled_noise(SIGMA[ell], eps)
    out = clamp(round_shift((a << fraction_bits) - n, fraction_bits))

In mean mode ``ell``, ``SIGMA`` and the draw ``eps`` vanish. One ``eps`` is consumed per output element in stream order.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from typing import Any, Literal

from .errors import require, require_choice, require_integer
from .gaussian import SAMPLE, SAMPLE_FRACTION_BITS, SIGMA_FRACTION_BITS
from .number import BIAS, UINT8, WEIGHT_LIMIT, IntegerFormat, signed_bits

Kernel = Literal["depthwise", "dense"]
Mode = Literal["mean", "sampling"]

HIDDEN = UINT8
"""Format of both hidden activations."""

WINDOW = 9
"""Elements of a 3x3 window, in raster order."""

LOG_SIGMA = IntegerFormat(7, signed=False)
LOG_SIGMA_STEPS = 8
"""Steps of ``ell`` to an octave of sigma."""

SIGMA = tuple(round(2 ** (index / LOG_SIGMA_STEPS)) for index in range(LOG_SIGMA.high + 1))
"""sigma by ``ell``, with 8 fraction bits below one activation step: from 2**-8 to 235 steps."""
SIGMA_BITS = max(SIGMA).bit_length()

DIMENSION_HIGH = 4096


@dataclass(frozen=True)
class Stage:
    """One matrix-vector stage: every output is a requantised weighted sum over its inputs.

    Attributes:
        name: ``reduce``, ``spatial``, ``mean`` or ``log_sigma``.
        outputs: number of output channels.
        inputs: weights per output. The input vector of a dense 3x3 stage is ordered (row, column, channel), channel
            fastest; of a depthwise one, each output reads the nine elements of its own channel.
        source: format of the input activations.
        target: format of the outputs, whose range is the requantiser's clamp.
        shared_input: False where each output reads inputs of its own (depthwise).
    """

    name: str
    outputs: int
    inputs: int
    source: IntegerFormat
    target: IntegerFormat
    shared_input: bool = True

    @property
    def accumulator_magnitude(self) -> int:
        """Bound on every partial and full sum, bias included."""
        return WEIGHT_LIMIT * self.source.magnitude * self.inputs + BIAS.magnitude

    @property
    def accumulator(self) -> IntegerFormat:
        """Format of the accumulator, sized by proof from the bound."""
        return IntegerFormat(signed_bits(self.accumulator_magnitude), signed=True)

    @property
    def weights(self) -> int:
        """Number of weights."""
        return self.outputs * self.inputs

    @property
    def parameters(self) -> int:
        """Weights and biases (multipliers and shifts belong to the number format and are not counted)."""
        return self.weights + self.outputs


@dataclass(frozen=True)
class BlockConfig:
    """Shape and mode of one denoising block.

    Attributes:
        channels: depth of the tap.
        hidden: width of the bottleneck.
        height, width: the frame, in pixels.
        kernel: ``depthwise`` or ``dense`` 3x3 stage.
        mode: ``mean`` subtracts the predicted mean; ``sampling`` a draw from the predicted Gaussian.
        signed: whether activations are signed 8 bits (tap before a ReLU) or unsigned (after).
        fraction_bits: resolution of the noise estimate below one activation step.
    """

    channels: int
    hidden: int
    height: int
    width: int
    kernel: Kernel = "depthwise"
    mode: Mode = "mean"
    signed: bool = False
    fraction_bits: int = 4

    def __post_init__(self) -> None:
        for field in ("channels", "hidden", "height", "width"):
            require_integer(f"block.{field}", getattr(self, field), 1, DIMENSION_HIGH)
        require_choice("block.kernel", self.kernel, ("depthwise", "dense"))
        require_choice("block.mode", self.mode, ("mean", "sampling"))
        require_choice("block.signed", self.signed, (True, False))
        require_integer("block.fraction_bits", self.fraction_bits, 1, 7)

    @property
    def activation(self) -> IntegerFormat:
        """Format of the tap's activations, in and out."""
        return IntegerFormat(8, self.signed)

    @property
    def mean_format(self) -> IntegerFormat:
        """Format of ``mu``: signed, +-128 activation steps."""
        return IntegerFormat(8 + self.fraction_bits, signed=True)

    @property
    def noise_shift(self) -> int:
        """Right shift of ``sigma * eps``."""
        return SIGMA_FRACTION_BITS + SAMPLE_FRACTION_BITS - self.fraction_bits

    @property
    def noise_format(self) -> IntegerFormat:
        """Format of ``n``, sized by proof."""
        magnitude = self.mean_format.magnitude
        if self.mode == "sampling":
            magnitude += (max(SIGMA) * SAMPLE.magnitude >> self.noise_shift) + 1
        return IntegerFormat(signed_bits(magnitude), signed=True)

    @property
    def stages(self) -> tuple[Stage, ...]:
        """The block's stages in the order of computation, which is also the order of its parameter image."""
        dense = self.kernel == "dense"
        spatial_inputs = WINDOW * self.hidden if dense else WINDOW
        stages = (
            Stage("reduce", self.hidden, self.channels, self.activation, HIDDEN),
            Stage("spatial", self.hidden, spatial_inputs, HIDDEN, HIDDEN, shared_input=dense),
            Stage("mean", self.channels, self.hidden, HIDDEN, self.mean_format),
        )
        if self.mode == "mean":
            return stages
        return (*stages, Stage("log_sigma", self.channels, self.hidden, HIDDEN, LOG_SIGMA))

    def stage(self, name: str) -> Stage:
        """The stage called ``name``."""
        names = tuple(stage.name for stage in self.stages)
        require_choice("block.stage", name, names)
        return self.stages[names.index(name)]

    @property
    def pixels(self) -> int:
        """Pixels of a frame."""
        return self.height * self.width

    @property
    def parameters(self) -> int:
        """Trained parameters of the block after batch-norm folding: weights and biases."""
        return sum(stage.parameters for stage in self.stages)

    @property
    def multiplications(self) -> int:
        """Multiply-accumulates per frame, padding included."""
        return self.pixels * sum(stage.weights for stage in self.stages)

    def to_dict(self) -> dict[str, Any]:
        """The fields as plain values, for manifests."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> BlockConfig:
        """The inverse of :meth:`to_dict`; unknown and missing fields are refused by name."""
        known = {field.name for field in fields(cls)}
        for name in values:
            require(
                name in known, f"block.{name}", values[name], "absent: known fields are " + ", ".join(sorted(known))
            )
        for name in ("channels", "hidden", "height", "width"):
            require(name in values, f"block.{name}", None, "given")
        return cls(**values)
