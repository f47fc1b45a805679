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
    set_noise_level,
    set_variation,
)
from .conversion import convert, to_digital
from .layers import AnalogConv2d, AnalogLayer, AnalogLinear, Calibration

__all__ = [
    "AnalogConv2d",
    "AnalogLayer",
    "AnalogLinear",
    "Calibration",
    "NoiseState",
    "calibrate",
    "convert",
    "layers",
    "position",
    "quiet",
    "restart",
    "scale_noise",
    "set_calibration",
    "set_chip",
    "set_noise_level",
    "set_variation",
    "to_digital",
]
