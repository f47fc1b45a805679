"""Integer arithmetic in hardware: shapes of the contract's formats, and the requantiser."""

from .placed import PlacedRequantizer
from .requantize import Requantizer
from .shapes import shape_of

__all__ = ["PlacedRequantizer", "Requantizer", "shape_of"]
