"""Compiled kernels: the same bits as the PyTorch code that they stand in for, sooner.

``kernels.cpp`` is compiled once, when it is first needed, with the system's C++ compiler into the user's cache
(``$XDG_CACHE_HOME/quietbar`` or ``~/.cache/quietbar``). Where that fails, or with ``QUIETBAR_NATIVE=0`` in the
environment, everything is computed by PyTorch, with the same results. :func:`status` says which it is, and why.
"""

from .build import Kernels, kernels, status

__all__ = ["Kernels", "kernels", "status"]
