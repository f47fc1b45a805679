"""Phase-change memory in numbers: one place for the float, integer and RTL engines.

V. Joshi et al., "Accurate deep neural network inference using computational phase-change memory", Nature Communications
11, 2473 (2020), and S. R. Nandakumar et al., "Phase-change memory models for deep learning training and inference",
ICECS 2019; coefficients as in aihwkit's PCM-like noise model. ``g`` is a device's target conductance relative to full
scale.
"""

from __future__ import annotations

FULL_SCALE_MICROSIEMENS = 25.0
"""Conductance at ``g`` = 1."""

PROGRAMMING = (0.2635, 1.9650, -1.1731)
"""Deviation of a programmed conductance, in microsiemens: ``max(c0 + c1 g + c2 g^2, 0)``."""

EXPONENT_MEAN = (-0.0155, 0.0244, 0.049, 0.1)
"""Mean exponent of drift: ``slope * ln(g) + constant``, clipped to [low, high]."""

EXPONENT_SIGMA = (-0.0125, -0.0059, 0.008, 0.045)
"""Deviation of the exponent over devices, likewise."""

FIRST_READ_SECONDS = 20.0
"""Time from programming to the first reading; drift counts from there."""

READ_COEFFICIENT, READ_EXPONENT, READ_LIMIT = 0.0088, 0.65, 0.2
"""Relative 1/f noise ``Q = min(coefficient / g^exponent, limit)``."""

READ_SECONDS = 250e-9
"""Duration of a reading."""
