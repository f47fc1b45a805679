"""The denoising block in hardware and its AXI wrapper."""

from .block import DenoisingBlock
from .folding import Folding
from .top import AxiDenoiser, Error

__all__ = ["AxiDenoiser", "DenoisingBlock", "Error", "Folding"]
