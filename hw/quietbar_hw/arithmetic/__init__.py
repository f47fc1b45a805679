"""Integer arithmetic in hardware: shapes of the contract's formats, and the requantiser."""

from .requantize import Requantizer
from .shapes import shape_of

__all__ = ["Requantizer", "shape_of"]
