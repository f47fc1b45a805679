"""How much each layer's arrays do for one image: counts, no costs."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from quietbar.analog.arrays import channel_ranges
from quietbar.analog.control import quiet
from quietbar.analog.interface import Interface
from quietbar.contract.errors import ConfigurationError, require
from quietbar.models.accuracy import evaluation_mode

from .hardware import REFERENCE_BITS, Hardware


@dataclass(frozen=True)
class LayerShape:
    """A layer as arrays see it.

    Attributes:
        name: in the model.
        channels: input channels of a group.
        places: of the kernel: height times width; 1 for linear layers.
        columns: output channels of a group.
        groups: groups, each with rows and columns of its own.
        positions: input vectors for one image: height times width of the result.
    """

    name: str
    channels: int
    places: int
    columns: int
    groups: int
    positions: int

    @property
    def macs(self) -> int:
        """Multiply-accumulates for one image."""
        return self.channels * self.places * self.columns * self.groups * self.positions


@dataclass(frozen=True)
class LayerWork:
    """Counts for one image, and of parts.

    Attributes:
        row_tiles: arrays that share the rows of a group.
        column_tiles: arrays that share its columns.
        arrays: all of the layer's.
        cells: that hold its weights.
        slices: of the input's bits, applied one after another.
        bits_per_slice: of the DAC.
        readings: of each array.
        row_bits: bits applied to rows.
        cell_bits: cells times bits that they are read with.
        conversions: of ADCs.
        additions: of 32 bits.
        adcs: as many as ``columns_per_adc`` asks for.
        dacs: one a row of an array.
        holds: one an ADC input.
        adders: one an ADC.
        conversions_in_turn: most conversions that an ADC makes for one reading.
    """

    row_tiles: int
    column_tiles: int
    arrays: int
    cells: int
    slices: int
    bits_per_slice: int
    readings: int
    row_bits: int
    cell_bits: int
    conversions: int
    additions: int
    adcs: int
    dacs: int
    holds: int
    adders: int
    conversions_in_turn: int


def layer_shapes(model: nn.Module, shape: tuple[int, ...]) -> list[LayerShape]:
    """Every convolution and linear layer of ``model``, in the order of their first use.

    Args:
        model: digital or analog.
        shape: of one input, without the batch dimension.

    Raises:
        ConfigurationError: the model cannot compute such an input, uses no such layer, or uses one twice.
    """
    sizes = isinstance(shape, tuple | list) and all(isinstance(size, int) and size > 0 for size in shape)
    require(sizes, "estimate.shape", shape, "a tuple of sizes above 0, such as (3, 32, 32)")
    found: dict[str, LayerShape] = {}

    def measure(name: str, layer: nn.Conv2d | nn.Linear, result: Tensor) -> None:
        require(name not in found, "estimate.model", name, "without layers that are used twice")
        groups = layer.groups if isinstance(layer, nn.Conv2d) else 1
        weight = layer.weight
        positions = result.numel() // result.shape[0] // weight.shape[0]
        found[name] = LayerShape(
            name, weight.shape[1], weight[0, 0].numel(), weight.shape[0] // groups, groups, positions
        )

    hooks = []
    for name, module in model.named_modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            hooks.append(module.register_forward_hook(lambda layer, _, result, name=name: measure(name, layer, result)))
    try:
        first = next(model.parameters(), torch.zeros(()))
        with quiet(model), evaluation_mode(model), torch.no_grad():
            model(torch.zeros(1, *shape, dtype=first.dtype, device=first.device))
    except (RuntimeError, IndexError, ValueError) as error:
        reason = str(error).partition("\n")[0]
        raise ConfigurationError("estimate.shape", shape, f"an input of the model ({reason})") from error
    finally:
        for hook in hooks:
            hook.remove()
    require(bool(found), "estimate.model", type(model).__name__, "one with convolutions or linear layers")
    return list(found.values())


def layer_work(shape: LayerShape, interface: Interface, hardware: Hardware) -> LayerWork:
    """What the arrays of a layer do for one image.

    Raises:
        ConfigurationError: an array has fewer rows than the layer's kernel has places.
    """
    tiled = Interface(tile_rows=hardware.tile_rows)
    weight = torch.empty(1, shape.channels, shape.places, device="meta")
    row_tiles = len(channel_ranges(weight, tiled, shape.name))
    weights_per_row = hardware.tile_columns // hardware.columns_per_weight
    columns = shape.columns * hardware.weight_slices
    column_tiles = math.ceil(columns / weights_per_row)
    rows = shape.channels * shape.places * shape.groups
    cells = rows * columns * hardware.columns_per_weight
    bits = interface.dac.bits or REFERENCE_BITS
    # A signed input's sign goes along with every slice; where calibration decides, all bits are counted.
    magnitude = bits - 1 if interface.dac_sign == "signed" else bits
    width = min(interface.slice_bits or magnitude, magnitude)
    slices = math.ceil(magnitude / width)
    readings = shape.positions * slices
    results = row_tiles * columns * shape.groups
    in_turn = math.ceil(hardware.columns_per_adc / hardware.columns_per_weight)
    fullest = math.ceil(columns / column_tiles)
    adcs_of_array = math.ceil(fullest * hardware.columns_per_weight / hardware.columns_per_adc)
    arrays = row_tiles * column_tiles * shape.groups
    return LayerWork(
        row_tiles=row_tiles,
        column_tiles=column_tiles,
        arrays=arrays,
        cells=cells,
        slices=slices,
        bits_per_slice=width,
        readings=readings,
        row_bits=rows * column_tiles * shape.positions * magnitude,
        cell_bits=cells * shape.positions * magnitude,
        conversions=readings * results,
        additions=readings * results - shape.positions * shape.columns * shape.groups,
        adcs=adcs_of_array * arrays,
        dacs=rows * column_tiles,
        holds=results,
        adders=adcs_of_array * arrays,
        conversions_in_turn=min(fullest, in_turn),
    )
