"""Convolutions in hardware: 3x3 windows of a raster stream, and matrix-vector products."""

from .line_buffer import LineBuffer
from .matrix_vector import MatrixVectorUnit

__all__ = ["LineBuffer", "MatrixVectorUnit"]
