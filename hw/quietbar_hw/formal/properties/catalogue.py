"""All properties."""

from __future__ import annotations

from .engine import ENGINE_PROPERTIES
from .property import Property
from .queues import QUEUES
from .registers import REGISTER_PROPERTIES
from .requantizer import PLACED, REQUANTIZER
from .streams import STREAMS
from .tiles import TILES
from .windows import WINDOWS

PROPERTIES: dict[str, Property] = {
    each.name: each
    for each in (*STREAMS, *QUEUES, *REQUANTIZER, *PLACED, *REGISTER_PROPERTIES, *TILES, *ENGINE_PROPERTIES, *WINDOWS)
}
"""By name."""
