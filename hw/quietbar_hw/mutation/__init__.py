"""Faults planted in the elaborated hardware, automatically: operators, constants, widths, enables, conditions, resets.

All chosen faults go into one design, which has a further input ``fault``: 0 is the sound design, a number the design
with that fault alone. So a simulator is built once for all of them, and the sound design is its own control.
"""

from .faults import KINDS, Fault, choose, find_faults
from .planting import PlantedDesign, fingerprint, plant, sound_text

__all__ = ["KINDS", "Fault", "PlantedDesign", "choose", "find_faults", "fingerprint", "plant", "sound_text"]
