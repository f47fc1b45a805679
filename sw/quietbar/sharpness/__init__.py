"""Training that ends in flat minima, where noisy weights and activations do the least harm: SAM, ASAM and SAMSON."""

from . import formulas
from .optimizer import SharpnessAware, default_rho
from .passes import frozen_batch_norm_statistics

__all__ = ["SharpnessAware", "default_rho", "formulas", "frozen_batch_norm_statistics"]
