"""Conductances: how weights are held by devices, and in what the devices depart from their targets.

All conductances are in microsiemens, all times in seconds since programming. ``g`` is a device's target conductance
divided by ``Conductance.reference``. Every default is ideal: ``Conductance()`` computes what the digital layer does.
The formulas are carried out in :mod:`quietbar.noise.devices`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from quietbar.configuration import from_mapping, to_mapping
from quietbar.contract.errors import require, require_choice, require_integer, require_number

MAPPINGS = ("differential", "offset", "signed")
SCALES = ("layer", "column")
COMPENSATIONS = ("none", "global", "column")
REDRAWS = ("reading", "time")
RETENTIONS = ("added", "total")
MOST_LEVELS = 1 << 16
MOST_SLICES = 16


def _require_numbers(field: str, values: Any) -> None:
    require(isinstance(values, tuple), field, values, "a list of numbers")
    for index, value in enumerate(values):
        is_number = isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
        require(is_number, f"{field}[{index}]", value, "a finite number")


@dataclass(frozen=True)
class Programming:
    """Programming noise: a normal deviation from the target, one for every device and chip.

    Attributes:
        polynomial: coefficients c_0, c_1, ... of its standard deviation ``max(sum_k c_k g^k, 0)``, in microsiemens.
        valid: lowest and highest target, in microsiemens, that the polynomial was fitted for; None is any.
    """

    polynomial: tuple[float, ...] = ()
    valid: tuple[float, ...] | None = None

    def __post_init__(self) -> None:
        _require_numbers("programming.polynomial", self.polynomial)
        if self.valid is not None:
            _require_numbers("programming.valid", self.valid)
            ordered = len(self.valid) == 2 and 0 <= self.valid[0] < self.valid[1]
            require(ordered, "programming.valid", self.valid, "two conductances, 0 <= lowest < highest, or left out")

    @property
    def is_noisy(self) -> bool:
        """Whether there is any."""
        return any(self.polynomial)


@dataclass(frozen=True)
class LogLevel:
    """A number that depends on the level: ``slope * ln(g) + constant``, clipped to [low, high] (no unit).

    Attributes:
        slope, constant: of the line over ln(g).
        low, high: its bounds; ``g`` = 0 takes the bound that the slope leads to.
    """

    slope: float = 0.0
    constant: float = 0.0
    low: float = 0.0
    high: float = 1.0

    def __post_init__(self) -> None:
        for name in ("slope", "constant"):
            require_number(f"drift.{name}", getattr(self, name), -1e6, 1e6)
        require_number("drift.low", self.low, 0.0, 10.0)
        require_number("drift.high", self.high, self.low, 10.0, " (from drift.low)")

    @property
    def is_zero(self) -> bool:
        """Whether it is 0 at every level."""
        return self.high == 0 or (self.slope == 0 and self.constant <= 0 and self.low == 0)


@dataclass(frozen=True)
class Drift:
    """Power-law drift ``G(t) = G * (t / t0) ** -nu``, with an exponent of its own for every device and chip.

    Attributes:
        mean: mean exponent by target level (no unit).
        deviation: its standard deviation over devices. An exponent drawn below 0 becomes 0.
    """

    mean: LogLevel = LogLevel()
    deviation: LogLevel = LogLevel()

    def __post_init__(self) -> None:
        for name in ("mean", "deviation"):
            require(isinstance(getattr(self, name), LogLevel), f"drift.{name}", getattr(self, name), "a LogLevel")

    @classmethod
    def constant(cls, mean: float, deviation: float = 0.0) -> Drift:
        """The same mean and deviation at every level."""
        return cls(LogLevel(constant=mean, high=10.0), LogLevel(constant=deviation, high=10.0))

    @property
    def is_active(self) -> bool:
        """Whether any device drifts."""
        return not (self.mean.is_zero and self.deviation.is_zero)


@dataclass(frozen=True)
class ReadNoise:
    """Fluctuation of a conductance ``G`` from reading to reading: normal, mean 0, with the standard deviation::

        hypot(G * min(coefficient / g^exponent, limit) * sqrt(ln((t + t_read) / (2 t_read))), additive)

    The first part is 1/f noise accumulated over the band from one over the time since programming to that of a reading.

    Attributes:
        coefficient: relative noise at ``g`` = 1 (no unit).
        exponent: how it grows towards small conductances (no unit).
        limit: its bound (no unit).
        t_read: duration of a reading, in seconds.
        additive: part that does not depend on the level, in microsiemens.
        redraw: ``"reading"``: new for every product of a vector with the array, so that 1/f noise counts as white from
            reading to reading; ``"time"``: drawn once for the time since programming, as aihwkit does.
    """

    coefficient: float = 0.0
    exponent: float = 0.0
    limit: float = 1.0
    t_read: float = 250e-9
    additive: float = 0.0
    redraw: Literal["reading", "time"] = "reading"

    def __post_init__(self) -> None:
        for name in ("coefficient", "exponent", "limit", "additive"):
            require_number(f"read.{name}", getattr(self, name), 0.0)
        require_number("read.t_read", self.t_read, 1e-15, 1.0)
        require_choice("read.redraw", self.redraw, REDRAWS)

    @property
    def is_noisy(self) -> bool:
        """Whether there is any."""
        return self.additive > 0 or (self.coefficient > 0 and self.limit > 0)

    @property
    def grows(self) -> bool:
        """Whether it differs with the time since programming, in size or because it is drawn for that time."""
        return self.is_noisy and (self.redraw == "time" or (self.coefficient > 0 and self.limit > 0))


@dataclass(frozen=True)
class Retention:
    """Loss of the programmed state otherwise than by a power law: a common shift, and a spread that grows.

    Attributes:
        times: when the spread was measured, in seconds, ascending. Between them it is linear in ln(t).
        polynomials: for each time, coefficients over ``g`` of the standard deviation, in microsiemens, at least 0.
        spread: ``"added"``: independent of the programming noise; ``"total"``: that of programming included, so that
            only the difference is added (and nothing where the spread has shrunk).
        shift: change of every conductance, in microsiemens for each e-fold of t / t0.
    """

    times: tuple[float, ...] = ()
    polynomials: tuple[tuple[float, ...], ...] = ()
    spread: Literal["added", "total"] = "added"
    shift: float = 0.0

    def __post_init__(self) -> None:
        _require_numbers("retention.times", self.times)
        ascending = all(a < b for a, b in zip(self.times, self.times[1:], strict=False))
        ordered = ascending and all(time > 0 for time in self.times)
        require(ordered, "retention.times", self.times, "above 0 and ascending")
        count = len(self.times)
        require(isinstance(self.polynomials, tuple), "retention.polynomials", self.polynomials, "a list of lists")
        allowed = f"{count} polynomials, one for each of retention.times"
        require(
            len(self.polynomials) == count, "retention.polynomials", f"{len(self.polynomials)} polynomials", allowed
        )
        for index, polynomial in enumerate(self.polynomials):
            _require_numbers(f"retention.polynomials[{index}]", polynomial)
        require_choice("retention.spread", self.spread, RETENTIONS)
        require_number("retention.shift", self.shift, -1e6, 1e6)

    @property
    def is_active(self) -> bool:
        """Whether anything is lost."""
        return bool(self.times) or self.shift != 0

    @property
    def grows(self) -> bool:
        """Whether more is lost later: a spread measured once stays."""
        return len(self.times) > 1 or self.shift != 0


@dataclass(frozen=True)
class Faults:
    """Devices stuck for good, whatever they are programmed to: each with these chances, independently.

    Attributes:
        at_min: share stuck at ``g_min`` (0 to 1).
        at_max: share stuck at ``g_max`` (0 to 1, with the other).
    """

    at_min: float = 0.0
    at_max: float = 0.0

    def __post_init__(self) -> None:
        require_number("faults.at_min", self.at_min, 0.0, 1.0)
        require_number("faults.at_max", self.at_max, 0.0, 1.0)
        require(
            self.at_min + self.at_max <= 1, "faults.at_max", self.at_max, f"at most 1 - faults.at_min ({self.at_min:g})"
        )

    @property
    def exist(self) -> bool:
        """Whether there are any."""
        return self.at_min > 0 or self.at_max > 0


@dataclass(frozen=True)
class Conductance:
    """How a layer's weights are held by an array of devices.

    Attributes:
        mapping: ``"differential"``: a pair of devices for a weight, its magnitude on the one of its sign, the other at
            ``g_min``; ``"offset"``: one device, weight 0 in the middle of the range, less a column of reference devices
            that all hold 0; ``"signed"``: one device that takes both signs, which is no hardware but what papers
            mean by noise on weights.
        g_max: conductance of the largest weight, in microsiemens.
        g_min: conductance of an erased device, in microsiemens.
        levels: conductances that can be programmed, equally spaced from ``g_min`` to ``g_max``; None is any.
        slices: devices (or pairs) for a weight, each a digit of base ``levels``.
        scale: what ``g_max`` stands for: the largest magnitude of the ``"layer"``'s weights, or of each ``"column"``
            (output channel).
        programming: programming noise.
        drift: drift.
        read: read noise.
        retention: other losses over time.
        faults: stuck devices.
        compensation: digital factor on results that makes up for drift: ``"global"``, the same for all columns of the
            layer, or one for each ``"column"``: mean magnitude of the array's weights at ``t0`` over that now.
        reference: conductance of ``g`` = 1 in the formulas, in microsiemens; 0 is ``g_max``.
        t0: time from programming to the first reading, in seconds.
        seconds: time since programming, in seconds, at least ``t0``; see ``quietbar.analog.drift``.

    Raises:
        ConfigurationError: a field is outside what is allowed.
    """

    mapping: Literal["differential", "offset", "signed"] = "differential"
    g_max: float = 25.0
    g_min: float = 0.0
    levels: int | None = None
    slices: int = 1
    scale: Literal["layer", "column"] = "layer"
    programming: Programming = Programming()
    drift: Drift = Drift()
    read: ReadNoise = ReadNoise()
    retention: Retention = Retention()
    faults: Faults = Faults()
    compensation: Literal["none", "global", "column"] = "none"
    reference: float = 0.0
    t0: float = 20.0
    seconds: float = 20.0

    def __post_init__(self) -> None:
        require_choice("conductance.mapping", self.mapping, MAPPINGS)
        require_number("conductance.g_max", self.g_max, 1e-6, 1e6)
        require_number("conductance.g_min", self.g_min, 0.0)
        require(self.g_min < self.g_max, "conductance.g_min", self.g_min, f"below conductance.g_max ({self.g_max:g})")
        if self.levels is not None:
            require_integer("conductance.levels", self.levels, 2, MOST_LEVELS)
        require_integer("conductance.slices", self.slices, 1, MOST_SLICES)
        require_choice("conductance.scale", self.scale, SCALES)
        for name, kind in PARTS.items():
            value = getattr(self, name)
            require(isinstance(value, kind), f"conductance.{name}", value, f"a {kind.__name__}")
        require_choice("conductance.compensation", self.compensation, COMPENSATIONS)
        require_number("conductance.reference", self.reference, 0.0)
        require_number("conductance.t0", self.t0, 1e-9)
        require_number("conductance.seconds", self.seconds, self.t0, note=" (conductance.t0)")
        self._check_mapping()
        self._check_times()

    def _check_mapping(self) -> None:
        if self.slices > 1:
            allowed = "given where conductance.slices is above 1: a slice is a digit of that base"
            require(self.levels is not None, "conductance.levels", self.levels, allowed)
            assert self.levels is not None
            bits = self.slices * math.log2(self.levels)
            allowed = f"at most {int(48 / math.log2(self.levels))} with {self.levels} levels: 48 bits for a weight"
            require(bits <= 48, "conductance.slices", self.slices, allowed)
        if self.mapping == "offset" and self.levels == 2:
            allowed = "at least 3 with the offset mapping of one slice: two levels leave none below weight 0"
            require(self.slices > 1, "conductance.levels", self.levels, allowed)
        if self.mapping == "signed":
            require(self.g_min == 0, "conductance.g_min", self.g_min, "0 with the signed mapping")
        if self.programming.valid is not None:
            low, high = self.programming.valid
            allowed = f"at least {low:g}: conductance.programming was fitted from there (programming.valid)"
            require(self.g_min >= low, "conductance.g_min", self.g_min, allowed)
            allowed = f"at most {high:g}: conductance.programming was fitted up to there (programming.valid)"
            require(self.g_max <= high, "conductance.g_max", self.g_max, allowed)

    def _check_times(self) -> None:
        if self.retention.times:
            last = self.retention.times[-1]
            allowed = f"at most {last:g}, the last of conductance.retention.times: nothing is known after it"
            require(self.seconds <= last, "conductance.seconds", self.seconds, allowed)
        if self.read.coefficient > 0:
            allowed = f"at least read.t_read ({self.read.t_read:g}), or there is no time for a reading"
            require(self.t0 >= self.read.t_read, "conductance.t0", self.t0, allowed)

    @property
    def ages(self) -> bool:
        """Whether anything depends on ``seconds``."""
        return self.drift.is_active or self.retention.grows or self.read.grows

    @property
    def full(self) -> float:
        """Conductance of ``g`` = 1, in microsiemens."""
        return self.reference or self.g_max

    @property
    def magnitudes(self) -> int | None:
        """How many magnitudes a weight can have, 0 included; None is any."""
        if self.levels is None:
            return None
        codes = self.levels**self.slices
        return (codes - 1) // 2 + 1 if self.mapping == "offset" else codes

    def to_dict(self) -> dict[str, Any]:
        """The fields as plain values, for TOML and JSON."""
        return to_mapping(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Conductance:
        """The inverse of :meth:`to_dict`; fields left out take their defaults, unknown ones are refused by name."""
        return from_mapping(cls, values, "conductance")


PARTS: dict[str, type] = {
    "programming": Programming,
    "drift": Drift,
    "read": ReadNoise,
    "retention": Retention,
    "faults": Faults,
}
