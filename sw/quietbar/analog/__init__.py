"""Models on a chip: analog layers, conversion, calibration, and what can be changed afterwards."""

from .calibration import calibrate, set_calibration
from .control import (
    NoiseState,
    layers,
    position,
    quiet,
    restart,
    scale_noise,
    set_chip,
    set_interface,
    set_noise_level,
    set_variation,
)
from .conversion import convert, to_digital
from .grid import Grid
from .interface import Converter, Interface
from .layers import AnalogConv2d, AnalogLayer, AnalogLinear, Calibration
from .readout import Columns, Noise, quantize, read_out_
from .wires import Wires, effective_conductances

__all__ = [
    "AnalogConv2d",
    "AnalogLayer",
    "AnalogLinear",
    "Calibration",
    "Columns",
    "Converter",
    "Grid",
    "Interface",
    "Noise",
    "NoiseState",
    "Wires",
    "calibrate",
    "convert",
    "effective_conductances",
    "layers",
    "position",
    "quantize",
    "quiet",
    "read_out_",
    "restart",
    "scale_noise",
    "set_calibration",
    "set_chip",
    "set_interface",
    "set_noise_level",
    "set_variation",
    "to_digital",
]
