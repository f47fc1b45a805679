"""What devices come to: programming noise, drift, retention, faults and read noise, in float64.

Formulas and units are those of :mod:`quietbar.noise.conductance`. Everything is element by element, so that arrays of
devices come in any shape.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from .conductance import Conductance, LogLevel


def programming_deviation(conductance: Conductance, target: Tensor) -> Tensor:
    """Standard deviation of programmed conductances, in microsiemens."""
    level = target.abs() / conductance.full
    return polynomial(conductance.programming.polynomial, level).clamp(min=0)


def programmed(conductance: Conductance, target: Tensor, sample: Tensor) -> Tensor:
    """Conductances right after programming; ``sample`` standard normal."""
    return physical(conductance, target + programming_deviation(conductance, target) * sample)


def drift_exponents(conductance: Conductance, target: Tensor, sample: Tensor) -> Tensor:
    """Exponents of drift, at least 0; ``sample`` standard normal."""
    level, drift = target.abs() / conductance.full, conductance.drift
    return (log_level(drift.mean, level) + log_level(drift.deviation, level) * sample).clamp(min=0)


def drift_factor(conductance: Conductance, exponents: Tensor) -> Tensor:
    """What is left of the conductances at ``conductance.seconds``."""
    return torch.exp(exponents * -math.log(conductance.seconds / conductance.t0))


def retention_deviation(conductance: Conductance, target: Tensor) -> Tensor:
    """Standard deviation, in microsiemens, that retention adds to that of programming by ``conductance.seconds``."""
    retention, seconds, level = conductance.retention, conductance.seconds, target.abs() / conductance.full
    if not retention.times:
        return torch.zeros_like(level)
    spread = [polynomial(each, level).clamp(min=0) for each in retention.polynomials]
    later = sum(time < seconds for time in retention.times)
    if later == 0 or len(spread) == 1:
        now = spread[0]
    else:
        before, after = retention.times[later - 1], retention.times[later]
        part = math.log(seconds / before) / math.log(after / before)
        now = spread[later - 1] + (spread[later] - spread[later - 1]) * part
    if retention.spread == "added":
        return now
    return (now.square() - programming_deviation(conductance, target).square()).clamp(min=0).sqrt()


def retention_shift(conductance: Conductance) -> float:
    """Change of every conductance by ``conductance.seconds``, in microsiemens."""
    return conductance.retention.shift * math.log(conductance.seconds / conductance.t0)


def read_deviation(conductance: Conductance, target: Tensor, now: Tensor) -> Tensor:
    """Standard deviation of a reading of conductances ``now`` at ``conductance.seconds``, in microsiemens."""
    read, level = conductance.read, target.abs() / conductance.full
    relative = torch.zeros_like(level)
    if read.coefficient > 0:
        # Powers of 0 are infinite; the limit takes care of them.
        relative = (read.coefficient * level.pow(-read.exponent)).clamp(max=read.limit)
    readings = (conductance.seconds + read.t_read) / (2 * read.t_read)
    return torch.hypot(now.abs() * relative * math.sqrt(math.log(readings)), torch.tensor(read.additive).double())


def physical(conductance: Conductance, values: Tensor) -> Tensor:
    """``values`` without the negative conductances that no device has (the signed mapping's stay)."""
    return values if conductance.mapping == "signed" else values.clamp(min=0)


def polynomial(coefficients: tuple[float, ...], level: Tensor) -> Tensor:
    """``sum_k c_k level^k``, by Horner's rule."""
    result = torch.zeros_like(level)
    for coefficient in reversed(coefficients):
        result = result * level + coefficient
    return result


def log_level(line: LogLevel, level: Tensor) -> Tensor:
    """The value of ``line`` at ``level``."""
    if line.slope == 0:
        return torch.full_like(level, min(max(line.constant, line.low), line.high))
    return (line.slope * level.log() + line.constant).clamp(line.low, line.high)
