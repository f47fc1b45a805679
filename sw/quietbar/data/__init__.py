"""Data sets in memory, with splits that a seed fixes."""

from .augmentation import crop_and_flip
from .batches import Batches, permutation
from .normalization import Normalization

__all__ = ["Batches", "Normalization", "crop_and_flip", "permutation"]
