"""Compiled kernels: the same bits as the PyTorch or NumPy code that they stand in for, sooner.

``kernels.cpp`` (analog layers) and ``gaussian.cpp`` (the Gaussian sources) are compiled once, when they are first
needed, with the system's C++ compiler into the user's cache (``$XDG_CACHE_HOME/quietbar`` or ``~/.cache/quietbar``).
Where that fails, or with ``QUIETBAR_NATIVE=0`` in the environment, everything is computed by PyTorch and NumPy, with
the same results. :func:`status` says which it is, and why.
"""

from .build import Kernels, kernels, status

__all__ = ["Kernels", "kernels", "status"]
