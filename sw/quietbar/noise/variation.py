"""What an analog layer does to its result."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from quietbar.configuration import from_mapping, to_mapping
from quietbar.contract.errors import require, require_choice, require_number

REFERENCES = ("std", "range")


@dataclass(frozen=True)
class Variation:
    """Noise and mismatch of an analog result, in units of the layer's own calibrated scale.

    With ``y`` the ideal result (bias included), ``c`` its output column (channel), ``r`` the layer's reference scale,
    ``g`` and ``o`` one standard normal number per column and chip, and ``e`` one per element, image and chip::

        result = gain_c * y + r * (offset_mismatch * o_c + noise * e)
        gain_c = (1 + gain_mismatch * g_c) * (seconds / t0) ** -nu
        noise = sigma * sqrt(1 + noise_growth * ln(seconds / t0))

    Attributes:
        sigma: standard deviation of the temporal noise at ``t0``, in units of ``r``.
        reference: what ``r`` is: ``"std"``, the standard deviation of the layer's ideal results, or ``"range"``, their
            largest minus their smallest value; both measured by ``quietbar.analog.calibrate``.
        gain_mismatch: standard deviation over columns of the relative gain error (no unit).
        offset_mismatch: standard deviation over columns of the offset, in units of ``r``.
        seconds: time since the conductances were programmed, in seconds, at least ``t0``.
        nu: exponent of the conductance drift (no unit), the same for all devices; 0 is no drift.
        t0: time since programming at which the conductances were read for the first time, in seconds.
        noise_growth: growth of the temporal noise's variance, relative, for each e-fold of ``seconds / t0``: 1/f noise
            accumulates with the logarithm of time.

    Raises:
        ConfigurationError: a field is outside what is allowed.
    """

    sigma: float = 0.0
    reference: Literal["std", "range"] = "std"
    gain_mismatch: float = 0.0
    offset_mismatch: float = 0.0
    seconds: float = 20.0
    nu: float = 0.0
    t0: float = 20.0
    noise_growth: float = 0.0

    def __post_init__(self) -> None:
        for name in ("sigma", "gain_mismatch", "offset_mismatch", "nu", "noise_growth"):
            require_number(f"variation.{name}", getattr(self, name), 0.0)
        require_choice("variation.reference", self.reference, REFERENCES)
        require_number("variation.t0", self.t0, 0.0)
        require(self.t0 > 0, "variation.t0", self.t0, "a finite number above 0")
        require_number("variation.seconds", self.seconds, self.t0, note=" (variation.t0)")

    @property
    def drift(self) -> float:
        """The factor ``(seconds / t0) ** -nu`` on all gains."""
        return float((self.seconds / self.t0) ** -self.nu)

    @property
    def noise(self) -> float:
        """Standard deviation of the temporal noise at ``seconds``, in units of the reference scale."""
        return self.sigma * math.sqrt(1 + self.noise_growth * math.log(self.seconds / self.t0))

    @property
    def has_gain(self) -> bool:
        """Whether any column's gain differs from 1."""
        return self.gain_mismatch > 0 or self.drift != 1

    @property
    def ages(self) -> bool:
        """Whether anything depends on ``seconds``."""
        return self.nu > 0 or (self.noise_growth > 0 and self.sigma > 0)

    @property
    def needs_reference(self) -> bool:
        """Whether any part is in units of the layer's scale."""
        return self.sigma > 0 or self.offset_mismatch > 0

    def to_dict(self) -> dict[str, Any]:
        """The fields as plain values, for TOML and JSON."""
        return to_mapping(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Variation:
        """The inverse of :meth:`to_dict`; fields left out take their defaults, unknown ones are refused by name."""
        return from_mapping(cls, values, "variation")
