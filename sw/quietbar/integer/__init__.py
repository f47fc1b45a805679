"""From trained blocks to integers: quantisation, the bundle, and the bit-exact reference of every hardware block."""

from .arithmetic import requantize
from .block import BlockTrace, run_block
from .box_muller import gaussian
from .bundle import Bundle, Engine, export, load
from .calibration import CalibrationError, Clipping
from .parameters import BlockParameters, StageParameters, parameter_frame, random_parameters
from .quantize import Scales, quantize_block
from .tap import IntegerTap

__all__ = [
    "BlockParameters",
    "BlockTrace",
    "Bundle",
    "CalibrationError",
    "Clipping",
    "Engine",
    "IntegerTap",
    "Scales",
    "StageParameters",
    "export",
    "gaussian",
    "load",
    "parameter_frame",
    "quantize_block",
    "random_parameters",
    "requantize",
    "run_block",
]
