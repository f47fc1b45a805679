"""Costs of a network: what its layers do, times what each part costs."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from torch import nn

from quietbar.analog.interface import Interface
from quietbar.analog.layers import AnalogLayer

from .constants import CONSTANTS
from .hardware import ASSUMPTIONS, REFERENCE_BITS, Hardware
from .work import LayerShape, LayerWork, layer_shapes, layer_work

PARTS = ("DAC", "array", "ADC", "accumulate")


@dataclass(frozen=True)
class LayerEstimate:
    """Costs of a layer for one image.

    Attributes:
        shape: of the layer.
        work: counts.
        energy: in pJ, by part: ``"DAC"``, ``"array"``, ``"ADC"``, ``"accumulate"``.
        latency: from the first input vector to the last result, in ns.
        area: of its arrays and converters, in square micrometers.
    """

    shape: LayerShape
    work: LayerWork
    energy: dict[str, float]
    latency: float
    area: float

    @property
    def total_energy(self) -> float:
        """Of all parts, in pJ."""
        return sum(self.energy.values())


@dataclass(frozen=True)
class Estimate:
    """Costs of a network for one image.

    Attributes:
        hardware: that they are costs of.
        layers: in the order of their use.
    """

    hardware: Hardware
    layers: tuple[LayerEstimate, ...]

    @property
    def energy(self) -> float:
        """In pJ."""
        return sum(layer.total_energy for layer in self.layers)

    @property
    def latency(self) -> float:
        """Of one image alone, layer after layer, in ns."""
        return sum(layer.latency for layer in self.layers)

    @property
    def interval(self) -> float:
        """Between images that follow each other in a pipeline of the layers, in ns."""
        return max(layer.latency for layer in self.layers)

    @property
    def area(self) -> float:
        """In square micrometers."""
        return sum(layer.area for layer in self.layers)

    @property
    def macs(self) -> int:
        """Multiply-accumulates."""
        return sum(layer.shape.macs for layer in self.layers)

    @property
    def digital_energy(self) -> float:
        """What digital 8-bit arithmetic alone would take for the same, in pJ."""
        return self.macs * self.hardware.digital_mac_energy

    def to_dict(self) -> dict[str, Any]:
        """Everything as plain values, the assumptions included."""
        return {
            "hardware": self.hardware.to_dict(),
            "layers": [asdict(layer) for layer in self.layers],
            "energy_pJ": self.energy,
            "latency_ns": self.latency,
            "interval_ns": self.interval,
            "area_um2": self.area,
            "macs": self.macs,
            "digital_energy_pJ": self.digital_energy,
            "assumptions": list(ASSUMPTIONS),
        }

    def table(self) -> str:
        """For people: a line a layer, the sums, the assumptions and the sources."""
        width = max(5, *(len(layer.shape.name) for layer in self.layers))
        lines = [
            f"{'layer':{width}} {'rows x columns':>15} {'vectors':>8} {'arrays':>7} "
            + " ".join(f"{part + ' nJ':>14}" for part in PARTS)
            + f" {'latency us':>11} {'area mm2':>9}"
        ]
        for layer in self.layers:
            shape = layer.shape
            size = f"{shape.channels * shape.places} x {shape.columns * shape.groups}"
            parts = " ".join(f"{layer.energy[part] / 1e3:14.3f}" for part in PARTS)
            lines.append(
                f"{shape.name:{width}} {size:>15} {shape.positions:8,} {layer.work.arrays:7,} {parts}"
                f" {layer.latency / 1e3:11.2f} {layer.area / 1e6:9.4f}"
            )
        arrays = sum(layer.work.arrays for layer in self.layers)
        parts = " ".join(f"{sum(layer.energy[part] for layer in self.layers) / 1e3:14.3f}" for part in PARTS)
        lines.append(
            f"{'all':{width}} {'':>15} {'':>8} {arrays:7,} {parts}{self.latency / 1e3:12.2f} {self.area / 1e6:9.4f}"
        )
        per_mac = self.energy / self.macs
        lines += [
            "",
            f"one image: {self.energy / 1e6:.3f} uJ, {self.latency / 1e3:.1f} us alone, one every"
            f" {self.interval / 1e3:.1f} us in a pipeline; {self.macs:,} MACs, {per_mac * 1e3:.1f} fJ each",
            f"digital 8-bit arithmetic alone, without memory: {self.digital_energy / 1e6:.3f} uJ",
            "",
            "Assumptions:",
            *(f"- {assumption}" for assumption in ASSUMPTIONS),
            "",
            "Sources:",
            *(f"- {source}" for source in dict.fromkeys(constant.source for constant in CONSTANTS.values())),
        ]
        return "\n".join(lines)


def estimate(
    model: nn.Module,
    shape: tuple[int, ...],
    hardware: Hardware = Hardware(),  # noqa: B008 - it is frozen
    interface: Interface | None = None,
) -> Estimate:
    """Energy, latency and area of ``model``'s convolutions and linear layers for one image.

    Args:
        model: digital, or from ``quietbar.analog.convert``: then only its analog layers count, each with its interface.
        shape: of one input, without the batch dimension.
        hardware: the arrays and what their parts cost.
        interface: of all layers; None takes that of each analog layer, and the default one of digital layers.

    Raises:
        ConfigurationError: the model cannot compute such an input; a layer is used twice; an array is too small.
    """
    modules = dict(model.named_modules())
    analog = {name for name, module in modules.items() if isinstance(module, AnalogLayer)}
    layers = []
    for layer in layer_shapes(model, shape):
        if analog and layer.name not in analog:
            continue
        own = getattr(modules[layer.name], "interface", Interface())
        layers.append(_cost(layer, interface or own, hardware))
    return Estimate(hardware, tuple(layers))


def _cost(shape: LayerShape, interface: Interface, hardware: Hardware) -> LayerEstimate:
    work = layer_work(shape, interface, hardware)
    per_conversion = hardware.adc_energy * 2.0 ** ((interface.adc.bits or REFERENCE_BITS) - REFERENCE_BITS)
    energy = {
        "DAC": work.row_bits * hardware.dac_energy,
        "array": work.cell_bits * hardware.cell_energy,
        "ADC": work.conversions * (per_conversion + hardware.hold_energy),
        "accumulate": work.additions * hardware.add_energy,
    }
    reading = max(work.bits_per_slice * hardware.read_time, work.conversions_in_turn * hardware.adc_time)
    area = (
        work.cells * hardware.cell_area
        + work.adcs * hardware.adc_area
        + work.dacs * hardware.dac_area
        + work.holds * hardware.hold_area
        + work.adders * hardware.add_area
    )
    return LayerEstimate(shape, work, energy, work.readings * reading, area)
