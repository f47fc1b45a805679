"""Seeds derived from a seed and a name, the same in every engine and on every machine."""

from __future__ import annotations

import hashlib

from .errors import require_integer

SEED_HIGH = (1 << 64) - 1


def check_seed(seed: int, field: str = "seed") -> None:
    """Refuse anything but an integer from 0 to 2**64 - 1."""
    require_integer(field, seed, 0, SEED_HIGH)


def derive_seed(seed: int, *names: str | int) -> int:
    """A 64-bit seed for the purpose spelled by ``names`` (e.g. ``derive_seed(7, "layer1.conv", "gain")``).

    The first eight bytes, big-endian, of the SHA-256 of the seed and names joined by ``/``.
    """
    check_seed(seed)
    text = "/".join(str(part) for part in (seed, *names))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big")
