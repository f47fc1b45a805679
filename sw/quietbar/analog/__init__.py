"""Models on a chip: analog layers, conversion, calibration, and what can be changed afterwards."""

from .calibration import calibrate, set_calibration
from .control import (
    NoiseState,
    drift,
    layers,
    position,
    program,
    quiet,
    restart,
    scale_noise,
    set_chip,
    set_conductance,
    set_interface,
    set_noise_level,
    set_variation,
)
from .conversion import convert, to_digital
from .distribution import Calibration
from .grid import Grid
from .interface import Converter, Interface
from .layers import AnalogConv2d, AnalogLayer, AnalogLinear
from .readout import Columns, Noise, quantize, read_out_
from .storage import configuration, load_configuration, save_configuration, set_configuration
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
    "configuration",
    "convert",
    "drift",
    "effective_conductances",
    "layers",
    "load_configuration",
    "position",
    "program",
    "quantize",
    "quiet",
    "read_out_",
    "restart",
    "save_configuration",
    "scale_noise",
    "set_calibration",
    "set_chip",
    "set_conductance",
    "set_configuration",
    "set_interface",
    "set_noise_level",
    "set_variation",
    "to_digital",
]
