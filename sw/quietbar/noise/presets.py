"""Variations and conductances by name.

The levels of the variations are chosen here, round, and near the drop that denoising blocks are there to mend
(``docs/noise.md`` has what they do to ResNet-20). The conductances are published models of devices, each with its
source; ``docs/devices`` has their formulas and plots.
"""

from __future__ import annotations

import math
from dataclasses import replace

from quietbar.contract import phase_change
from quietbar.contract.errors import require_choice, require_number

from .conductance import Conductance, Drift, LogLevel, Programming, ReadNoise, Retention
from .variation import Variation

DAY = 86_400.0
YEAR = 365.25 * DAY

quiet = Variation()
"""An ideal device."""

temporal = Variation(sigma=0.35)
"""Noise on every result, new each time."""

process = Variation(gain_mismatch=0.1, offset_mismatch=0.2)
"""Every column has a gain and an offset of its own, for good."""

process_and_aging = Variation(sigma=0.15, gain_mismatch=0.1, offset_mismatch=0.15, seconds=DAY, nu=0.005)
"""Mismatch, some temporal noise, and a day of the drift that is left (nu 0.005) when its mean is compensated."""

NAMES = ("quiet", "temporal", "process", "process_and_aging")

exact = Conductance()
"""Devices that hold just what they should."""

pcm = Conductance(
    g_max=phase_change.FULL_SCALE_MICROSIEMENS,
    reference=phase_change.FULL_SCALE_MICROSIEMENS,
    programming=Programming(phase_change.PROGRAMMING, valid=(0.0, phase_change.FULL_SCALE_MICROSIEMENS)),
    drift=Drift(LogLevel(*phase_change.EXPONENT_MEAN), LogLevel(*phase_change.EXPONENT_SIGMA)),
    read=ReadNoise(
        coefficient=phase_change.READ_COEFFICIENT,
        exponent=phase_change.READ_EXPONENT,
        limit=phase_change.READ_LIMIT,
        t_read=phase_change.READ_SECONDS,
    ),
    compensation="global",
    t0=phase_change.FIRST_READ_SECONDS,
    seconds=phase_change.FIRST_READ_SECONDS,
)
"""Phase-change memory: Joshi et al., Nature Communications 11, 2473 (2020); drift and 1/f noise Nandakumar et al.,
ICECS 2019, coefficients as in aihwkit's PCMLikeNoiseModel."""

pcm_columns = replace(pcm, scale="column", compensation="column")
"""As :data:`pcm`, with full scale for the largest weight of each column instead of the layer's, and drift compensated
column by column. Networks of depthwise layers, whose columns differ by orders of magnitude, need the first."""

rram_milo = Conductance(
    g_max=225.0,
    g_min=50.0,
    reference=1.0,
    programming=Programming((4.782321, -0.009107), valid=(50.0, 225.0)),
    t0=1.0,
    seconds=1.0,
)
"""HfO2 RRAM, programmed by IGVVA-100: V. Milo et al., "Optimized programming algorithms for multilevel RRAM in hardware
neural networks", IRPS 2021, figure 4; the line is CrossSim's fit (RRAMMilo)."""

_WAN_AT_1_SECOND = (0.348, 16.030, -43.853, 45.393, -16.815)
_WAN_AT_1_DAY = (0.701, 22.086, -50.773, 47.095, -16.458)
_WAN_AT_2_DAYS = (0.782, 20.274, -43.507, 37.062, -11.934)

rram_wan = Conductance(
    g_max=40.0,
    reference=40.0,
    programming=Programming(_WAN_AT_1_SECOND, valid=(0.0, 40.0)),
    retention=Retention(
        times=(1.0, DAY, 2 * DAY), polynomials=(_WAN_AT_1_SECOND, _WAN_AT_1_DAY, _WAN_AT_2_DAYS), spread="total"
    ),
    read=ReadNoise(additive=0.4),
    t0=1.0,
    seconds=1.0,
)
"""RRAM of NeuRRAM: W. Wan et al., "A compute-in-memory chip based on resistive random-access memory", Nature 608, 504
(2022), extended data figure 3; polynomials and 1 % read noise as in aihwkit's ReRamWan2022NoiseModel."""

_CMO_SPREAD = (0.41183342, 0.04201137)

rram_cmo = Conductance(
    g_max=88.2,
    g_min=9.0,
    reference=1.0,
    programming=Programming((0.0112185391, 0.01129027418), valid=(9.0, 88.2)),
    retention=Retention(
        times=(1.0, 10 * YEAR),
        polynomials=((_CMO_SPREAD[0],), (_CMO_SPREAD[0] + _CMO_SPREAD[1] * math.log(10 * YEAR),)),
        spread="added",
        shift=-0.08900206,
    ),
    t0=1.0,
    seconds=1.0,
)
"""Conductive-metal-oxide/HfOx RRAM: D. F. Falcone et al., "All-in-one analog AI accelerator: on-chip training and
inference with conductive-metal-oxide/HfOx ReRAM devices", arXiv 2502.04524; acceptance range 2 %, coefficients as
in aihwkit's ReRamCMONoiseModel."""

generic = Conductance(mapping="signed", g_max=100.0, reference=100.0, programming=Programming((5.0,)))
"""Noise of 5 % of the layer's largest weight on every weight: the generic model of G. Mordido et al., "SAMSON", arXiv
2211.11561; :func:`of_largest_weight` has it for other shares."""

CONDUCTANCES = ("exact", "pcm", "pcm_columns", "rram_milo", "rram_wan", "rram_cmo", "generic")


def of_largest_weight(sigma: float) -> Conductance:
    """Normal noise with ``sigma`` times the layer's largest weight as its standard deviation, on every weight."""
    require_number("presets.sigma", sigma, 0.0, 100.0)
    return Conductance(mapping="signed", g_max=100.0, reference=100.0, programming=Programming((100.0 * sigma,)))


def by_name(name: str) -> Variation:
    """The variation called ``name``.

    Raises:
        ConfigurationError: there is none.
    """
    require_choice("preset", name, NAMES)
    found: Variation = globals()[name]
    return found


def conductance_by_name(name: str) -> Conductance:
    """The conductance called ``name``.

    Raises:
        ConfigurationError: there is none.
    """
    require_choice("preset", name, CONDUCTANCES)
    found: Conductance = globals()[name]
    return found
