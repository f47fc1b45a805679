"""Other images that show the same, made a batch at a time."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

PADDING = 4


def crop_and_flip(images: Tensor, generator: torch.Generator) -> Tensor:
    """Shift each image by up to four pixels in both directions and mirror half of them.

    He et al., arXiv 1512.03385, section 4.2.

    Args:
        images: (N, C, H, W), any type; what moves in from outside is 0.
        generator: random source; draws two shifts and one side for each image.
    """
    count, _, height, width = images.shape
    rows, columns = torch.randint(0, 2 * PADDING + 1, (2, count), generator=generator)
    mirrored = torch.randint(0, 2, (count, 1, 1, 1), generator=generator, dtype=torch.bool)
    windows = functional.pad(images, (PADDING,) * 4).unfold(2, height, 1).unfold(3, width, 1)
    shifted = windows[torch.arange(count), :, rows, columns]
    return torch.where(mirrored, shifted.flip(3), shifted)
