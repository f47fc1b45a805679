"""Gaussian noise in hardware, equal to :mod:`quietbar.contract.sources` sample by sample."""

from .inverse_cdf import InverseCdfSource
from .source import GaussianSource
from .top import AxiGaussianSource

__all__ = ["AxiGaussianSource", "GaussianSource", "InverseCdfSource"]
