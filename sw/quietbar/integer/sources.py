"""The vectorised Gaussian sources by name."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from quietbar.contract.sources import Kind, check_kind

from .box_muller import gaussian_array
from .inverse_cdf import inverse_cdf_array


def source_array(kind: Kind, seed: int, count: int, start: int = 0) -> NDArray[np.int16]:
    """Samples ``start`` to ``start + count - 1`` of ``seed``, int16 [count], 11 fraction bits.

    Equal to ``quietbar.contract.sources.source_samples(kind, seed, count, start)``.

    Raises:
        ConfigurationError: ``kind`` names no source, or an argument is not an integer in its range.
    """
    check_kind(kind)
    return gaussian_array(seed, count, start) if kind == "box-muller" else inverse_cdf_array(seed, count, start)
