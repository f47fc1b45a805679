"""Training that ends in flat minima, where noisy weights and activations do the least harm: SAM, ASAM and SAMSON."""

from . import formulas
from .baselines import METHODS, STRENGTHS, NoiseInjection, Plain, WeightClipping, method
from .measure import loss_sharpness
from .optimizer import SharpnessAware, default_rho
from .passes import frozen_batch_norm_statistics
from .wrapper import OptimizerWrapper

__all__ = [
    "METHODS",
    "STRENGTHS",
    "NoiseInjection",
    "OptimizerWrapper",
    "Plain",
    "SharpnessAware",
    "WeightClipping",
    "default_rho",
    "formulas",
    "frozen_batch_norm_statistics",
    "loss_sharpness",
    "method",
]
