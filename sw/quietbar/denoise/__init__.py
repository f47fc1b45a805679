"""Denoising blocks: the block, its insertion into any model, and its training on a frozen backbone."""

from .block import DenoisingBlock
from .freezing import BackboneChangedError, backbone_hashes, frozen_backbone
from .insertion import Tap, enable, insert, measure, remove, taps, without_blocks
from .levels import NoiseLevels, Population
from .objective import Objective
from .observation import observed
from .teacher import Teacher
from .training import Precision, train

__all__ = [
    "BackboneChangedError",
    "DenoisingBlock",
    "NoiseLevels",
    "Objective",
    "Population",
    "Precision",
    "Tap",
    "Teacher",
    "backbone_hashes",
    "enable",
    "frozen_backbone",
    "insert",
    "measure",
    "observed",
    "remove",
    "taps",
    "train",
    "without_blocks",
]
