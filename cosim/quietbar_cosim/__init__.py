"""Co-simulation of the hardware with the software: benches, the bulk runner, the RTL as a PyTorch module."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .denoiser import RTLDenoiser

__all__ = ["RTLDenoiser"]


def __getattr__(name: str) -> Any:
    # Benches run inside the simulator and have no use for PyTorch, which takes seconds to import.
    if name == "RTLDenoiser":
        from .denoiser import RTLDenoiser

        return RTLDenoiser
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
