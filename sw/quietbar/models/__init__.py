"""Networks, their pretrained weights and their accuracy."""

from .accuracy import accuracy, evaluation_mode

__all__ = ["accuracy", "evaluation_mode"]
