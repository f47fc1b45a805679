"""Gaussian noise in hardware, equal to :mod:`quietbar.contract.gaussian` sample by sample."""

from .source import GaussianSource

__all__ = ["GaussianSource"]
