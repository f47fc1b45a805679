"""From trained blocks to integers: quantisation, the bundle, and the bit-exact reference of every hardware block."""

from .arithmetic import requantize
from .block import BlockTrace, run_block
from .box_muller import gaussian
from .parameters import BlockParameters, StageParameters, parameter_frame, random_parameters

__all__ = [
    "BlockParameters",
    "BlockTrace",
    "StageParameters",
    "gaussian",
    "parameter_frame",
    "random_parameters",
    "requantize",
    "run_block",
]
