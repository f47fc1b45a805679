"""A trained network becomes a :class:`quietbar.integer.tile_network.TileNetwork` on a chip.

The network is a chain of ``stage1``, ``stage2``, ..., each with ``conv`` (3x3, no bias), ``bn`` and ReLU, and ends in a
mean of each channel and ``linear``, as :class:`quietbar.models.DigitsNetwork`. Batch normalization goes into the
weights and the digital scale. Every column has its own weight scale; every tile's column its own ADC range, which
holds the currents of the calibration images.

Drift is compensated digitally, one factor a layer: the scale makes up for what all conductances together have lost
(global drift compensation, V. Joshi et al., Nature Communications 11, 2473, 2020).
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import torch
from torch import Tensor, nn

from quietbar.contract.block import WINDOW
from quietbar.contract.crossbar import LEVEL_FRACTION_BITS, CrossbarConfig
from quietbar.contract.drift import TIME
from quietbar.contract.errors import require, require_integer, require_number
from quietbar.contract.number import UINT8, WEIGHT_LIMIT
from quietbar.contract.seeds import derive_seed
from quietbar.contract.tile_network import LayerConfig
from quietbar.noise import Chip

from .bundle import Bundle
from .conductances import draw_faults
from .converters import converter_for_chip, design_scale
from .tile_network import Layer, TileNetwork
from .tiles import Tiles

HEADROOM = 1.05
"""ADC ranges over the largest current of the calibration images."""


@dataclass(frozen=True)
class TileChip:
    """The chip that a network is put on.

    Attributes:
        chip: variation of converters and read noise, and the seed of all that is drawn.
        rows: of a tile, at most; the largest divisor of a layer's inputs is taken.
        time: time step since programming.
        stuck_at_zero, stuck_at_full: share of devices.
    """

    chip: Chip
    rows: int = 72
    time: int = 0
    stuck_at_zero: float = 0.0
    stuck_at_full: float = 0.0

    def __post_init__(self) -> None:
        require_integer("tile_chip.rows", self.rows, 1, 1024)
        require_integer("tile_chip.time", self.time, TIME.low, TIME.high)
        for name in ("stuck_at_zero", "stuck_at_full"):
            require_number(f"tile_chip.{name}", getattr(self, name), 0, 1)


def _conductance(tiles: Tiles) -> float:
    """Sum of all conductances, as one read of an array with the same input on every row shows it."""
    plus, minus = tiles.conductances
    return float((plus + minus).sum())


@dataclass
class _Exporter:
    """Goes through the network with the calibration images."""

    on: TileChip
    bundle: Bundle | None
    codes: Tensor
    step: float
    layers: list[Layer] = field(default_factory=list)
    steps: list[float] = field(default_factory=list)

    def tiles(
        self, name: str, matrix: Tensor, bias: Tensor, vectors: Tensor, step: float | None, output: str
    ) -> tuple[Tiles, Tensor, float]:
        """The tiles of a layer, its ideal results on vectors, and the step of its outputs.

        Args:
            name: of the layer.
            matrix: real weights (inputs, outputs).
            bias: real (outputs).
            vectors: input codes (N, inputs), each ``self.step``.
            step: of the outputs; None is chosen such that the largest result is the highest code.
            output: ``"unsigned"`` or ``"signed"``.
        """
        inputs, outputs = matrix.shape
        # A tile of a convolution has whole channels.
        unit = WINDOW if output == "unsigned" else 1
        fitting = [rows for rows in range(unit, self.on.rows + 1, unit) if inputs % rows == 0]
        require(bool(fitting), "tile_chip.rows", self.on.rows, f"at least {unit} for {name}")
        rows = fitting[-1]
        config = CrossbarConfig(
            rows,
            outputs,
            row_tiles=inputs // rows,
            faults=True,
            drift=True,
            output=output,  # type: ignore[arg-type]
        )
        largest = matrix.abs().amax(0).clamp_min(1e-12)
        levels = (matrix / largest * WEIGHT_LIMIT).round().long()
        split = vectors.double().reshape(-1, config.row_tiles, rows)
        ideal = levels.double().mul(1 << LEVEL_FRACTION_BITS).reshape(config.row_tiles, rows, outputs)
        currents = torch.einsum("ntr,trc->ntc", split, ideal)
        full_scale = (HEADROOM * currents.abs().amax((0, 1))).clamp_min(config.adc.high)
        real = largest * self.step / (WEIGHT_LIMIT << LEVEL_FRACTION_BITS)
        results = currents.sum(1) * real + bias
        if step is None:
            step = float(results.abs().max() if output == "signed" else results.max()) / config.target.high
        chip = self.on.chip
        converter = converter_for_chip(config, chip, name, full_scale, float(currents.sum(1).std()))
        faults = draw_faults(config, chip, name, self.on.stuck_at_zero, self.on.stuck_at_full)
        seeds = (derive_seed(chip.seed, name, purpose) for purpose in ("programming", "reading", "drift"))
        programming, reading, drift = seeds
        ratio = full_scale / config.adc.high * real / step
        scale = design_scale(config, ratio, bias / step)
        tiles = Tiles(config, levels, converter, programming, reading, scale, drift, 0, faults)
        if self.on.time:
            aged = tiles.at(self.on.time)
            left = _conductance(aged) / _conductance(tiles)
            tiles = replace(aged, scale=design_scale(config, ratio / left, bias / step))
        return tiles, results, step

    def convolution(self, name: str, stage: nn.Module) -> None:
        """Append a stage; the codes become those behind it."""
        convolution, norm = stage.get_submodule("conv"), stage.get_submodule("bn")
        assert isinstance(convolution, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d)
        good = convolution.kernel_size == (3, 3) and convolution.padding == (1, 1) and convolution.bias is None
        require(good, f"{name}.conv", convolution, "3x3 with padding 1 and no bias")
        variance, mean = norm.running_var, norm.running_mean
        assert variance is not None and mean is not None
        factor = norm.weight.double() / (variance.double() + norm.eps).sqrt()
        matrix = (convolution.weight.double().flatten(1) * factor[:, None]).t()
        bias = norm.bias.double() - mean.double() * factor
        stride = int(convolution.stride[0])
        count, channels, height, width = self.codes.shape
        unfolded = nn.functional.unfold(self.codes.float(), 3, padding=1, stride=stride)
        vectors = unfolded.transpose(1, 2).reshape(-1, WINDOW * channels)
        tap = None if self.bundle is None else self.bundle.taps.get(name)
        wanted = None if tap is None else tap.scales.activation
        tiles, results, step = self.tiles(f"{name}.conv", matrix, bias, vectors, wanted, "unsigned")
        block = None if tap is None else tap.parameters
        config = LayerConfig(height, width, channels, tiles.config, stride, None if tap is None else tap.config)
        self.layers.append(Layer(config, tiles, block))
        codes = (results / step).round().clamp(0, UINT8.high)
        self.codes = codes.reshape(count, config.pixels, -1).transpose(1, 2).reshape(count, -1, *config.size)
        self.step = step
        self.steps.append(step)


def export_tile_network(
    model: nn.Module, images: Tensor, step: float, on: TileChip, bundle: Bundle | None = None
) -> TileNetwork:
    """The network in integers, on a chip; arguments and errors as of :func:`export_with_steps`."""
    return export_with_steps(model, images, step, on, bundle)[0]


def export_with_steps(
    model: nn.Module, images: Tensor, step: float, on: TileChip, bundle: Bundle | None = None
) -> tuple[TileNetwork, tuple[float, ...]]:
    """The network in integers, on a chip; and what a code stands for behind each convolution, and behind the head.

    Without a bundle the steps are the same on every chip.

    Args:
        model: the trained network, clean and in evaluation mode.
        images: calibration images as codes (N, channels, height, width), 0 to 255.
        step: what a code of theirs stands for.
        on: the chip.
        bundle: blocks for some of the stages, e.g. of :func:`quietbar.integer.export`.

    Raises:
        ConfigurationError: the network is no such chain, or a value does not fit the hardware.
    """
    stages = {name: child for name, child in model.named_children() if name.startswith("stage")}
    require(bool(stages) and hasattr(model, "linear"), "model", type(model).__name__, "stages and a linear layer")
    unknown = [] if bundle is None else [name for name in bundle.taps if name not in stages]
    require(not unknown, "bundle.taps", unknown, f"of {tuple(stages)}")
    with torch.no_grad():
        exporter = _Exporter(on, bundle, images.double(), step)
        for name, stage in stages.items():
            exporter.convolution(name, stage)
        linear = model.get_submodule("linear")
        assert isinstance(linear, nn.Linear)
        means = exporter.codes.mean((2, 3)).round()
        weights, bias = linear.weight.double().t(), linear.bias.double()
        head, _, last = exporter.tiles("linear", weights, bias, means, None, "signed")
    return TileNetwork(tuple(exporter.layers), head), (*exporter.steps, last)
