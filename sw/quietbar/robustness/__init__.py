"""Studies of noise-tolerant training: methods, grids and seeds in; accuracy under noise and loss sharpness out."""

from .recipe import StudyRecipe, read_study
from .study import Study

__all__ = ["Study", "StudyRecipe", "read_study"]
