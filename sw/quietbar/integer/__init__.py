"""From trained blocks to integers: quantisation, the bundle, and the bit-exact reference of every hardware block."""

from .arithmetic import requantize
from .box_muller import gaussian

__all__ = ["gaussian", "requantize"]
