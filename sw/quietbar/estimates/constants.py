"""Published figures of the parts of analog accelerators. All estimates come from this table and from nothing else."""

from __future__ import annotations

from dataclasses import dataclass

ISAAC = (
    "A. Shafiee et al., ISAAC: A Convolutional Neural Network Accelerator with In-Situ Analog Arithmetic in Crossbars, "
    "ISCA 2016, Table I (32 nm; 8 arrays of 128 x 128 cells and 8 ADCs an IMA) and its 100 ns cycle"
)
HOROWITZ = "M. Horowitz, Computing's Energy Problem (and What We Can Do about It), ISSCC 2014 (45 nm, 0.9 V)"


@dataclass(frozen=True)
class Constant:
    """A published figure.

    Attributes:
        value: in ``unit``.
        unit: pJ, ns or um2.
        meaning: of what.
        derivation: how it follows from the source's own figures.
        source: the publication.
    """

    value: float
    unit: str
    meaning: str
    derivation: str
    source: str


CONSTANTS = {
    "adc_energy": Constant(
        16e-3 * 100e-9 / (8 * 128) * 1e12,
        "pJ",
        "one conversion to 8 bits",
        "16 mW of 8 ADCs x 100 ns / (8 x 128 columns)",
        ISAAC,
    ),
    "dac_energy": Constant(
        4e-3 * 100e-9 / (8 * 128) * 1e12,
        "pJ",
        "one bit applied to one row",
        "4 mW of 8 x 128 one-bit DACs x 100 ns / (8 x 128 rows)",
        ISAAC,
    ),
    "cell_energy": Constant(
        2.4e-3 * 100e-9 / (8 * 128 * 128) * 1e12,
        "pJ",
        "one cell in one reading",
        "2.4 mW of 8 arrays x 100 ns / (8 x 128 x 128 cells)",
        ISAAC,
    ),
    "hold_energy": Constant(
        10e-6 * 100e-9 / (8 * 128) * 1e12,
        "pJ",
        "holding one column's result for its ADC",
        "10 uW of 8 x 128 sample-and-hold circuits x 100 ns / (8 x 128)",
        ISAAC,
    ),
    "add_energy": Constant(0.1, "pJ", "one digital addition of 32 bits", "as printed", HOROWITZ),
    "digital_mac_energy": Constant(
        0.2 + 0.03,
        "pJ",
        "one digital multiply-accumulate of 8 bits",
        "multiplication 0.2 + addition 0.03",
        HOROWITZ,
    ),
    "read_time": Constant(100.0, "ns", "one reading of an array", "as printed: one cycle", ISAAC),
    "adc_time": Constant(1 / 1.28, "ns", "one conversion", "1.28 GS/s: 128 columns in 100 ns", ISAAC),
    "adc_area": Constant(0.0096e6 / 8, "um2", "one 8-bit ADC", "0.0096 mm2 of 8 ADCs", ISAAC),
    "dac_area": Constant(0.00017e6 / (8 * 128), "um2", "one row's one-bit DAC", "0.00017 mm2 of 8 x 128", ISAAC),
    "cell_area": Constant(0.0002e6 / (8 * 128 * 128), "um2", "one cell", "0.0002 mm2 of 8 x 128 x 128", ISAAC),
    "hold_area": Constant(0.00004e6 / (8 * 128), "um2", "one sample-and-hold circuit", "0.00004 mm2 of 8 x 128", ISAAC),
    "add_area": Constant(0.00024e6 / 4, "um2", "one shift-and-add unit", "0.00024 mm2 of 4", ISAAC),
}
"""Name -> figure. Those that end in ``_energy``, ``_time`` and ``_area`` are in pJ, ns and square micrometers."""
