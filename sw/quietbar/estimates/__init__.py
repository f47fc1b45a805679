"""Energy, latency and area of a network's analog layers, from published figures of the parts they are made of."""

from .constants import CONSTANTS, Constant
from .estimate import Estimate, LayerEstimate, estimate
from .hardware import ASSUMPTIONS, Hardware
from .work import LayerShape, LayerWork, layer_shapes, layer_work

__all__ = [
    "ASSUMPTIONS",
    "CONSTANTS",
    "Constant",
    "Estimate",
    "Hardware",
    "LayerEstimate",
    "LayerShape",
    "LayerWork",
    "estimate",
    "layer_shapes",
    "layer_work",
]
