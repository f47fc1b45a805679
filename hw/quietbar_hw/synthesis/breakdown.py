"""Where the reference engine's LUTs are: each of its parts synthesised alone for ECP5.

    python -m quietbar_hw.synthesis.breakdown [PART...]

The engine flattened is another figure: there constants and unused outputs go on into the neighbors.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from quietbar.contract import IntegerFormat, require_choice
from quietbar.contract.engine import REFERENCE, Section

from ..arithmetic import PlacedRequantizer
from ..engine.core import noise_source, skip_depth
from ..engine.frames import DescriptorTable
from ..engine.framing import Framing, skipped_layout
from ..engine.heads import Heads
from ..engine.memory import Writer
from ..engine.reduce import Reduce
from ..engine.scale import Scale
from ..engine.spatial import Spatial
from ..gaussian.uniform import UniformSource
from ..stream import Queue
from ..verilog import to_verilog
from .resources import COUNTED, count_resources

PARTS: dict[str, Callable[[], Any]] = {
    "framing": lambda: Framing(REFERENCE),
    "descriptors": lambda: DescriptorTable(REFERENCE),
    "writer": lambda: Writer(REFERENCE),
    "skip queue": lambda: Queue(skipped_layout(REFERENCE), skip_depth(REFERENCE), block=True),
    "reduce": lambda: Reduce(REFERENCE),
    "spatial": lambda: Spatial(REFERENCE),
    "heads": lambda: Heads(REFERENCE),
    "Box-Muller": lambda: noise_source(REFERENCE),
}
"""What `EngineCore` consists of, but for its counters."""

WITHIN: dict[str, Callable[[], Any]] = {
    "scale of mean": lambda: Scale(
        REFERENCE, Section.MEAN_SCALE, REFERENCE.stage("mean"), REFERENCE.lanes, REFERENCE.lanes, REFERENCE.channel_rows
    ),
    "requantizer, 8 bits": lambda: PlacedRequantizer(IntegerFormat(24, True), IntegerFormat(8, True)),
    "requantizer, 12 bits": lambda: PlacedRequantizer(IntegerFormat(24, True), IntegerFormat(12, True)),
    "uniform source": lambda: UniformSource(REFERENCE.lanes // 2),
}
"""Parts of those parts."""

INSTEAD: dict[str, Callable[[], Any]] = {"inverse CDF": lambda: noise_source(replace(REFERENCE, source="inverse-cdf"))}
"""What an engine with another source has in place of Box-Muller."""


def breakdown(names: Sequence[str]) -> dict[str, dict[str, int]]:
    """ECP5 cells of each part, by the names of `COUNTED`."""
    makers = PARTS | INSTEAD | WITHIN
    found = {}
    with tempfile.TemporaryDirectory() as folder:
        for name in names:
            require_choice("part", name, tuple(makers))
            file = Path(folder) / "part.v"
            file.write_text(to_verilog(makers[name](), "part"))
            found[name] = count_resources(file, "part")
    return found


if __name__ == "__main__":
    print(f"{'part':20}" + "".join(f"{kind:>17}" for kind in COUNTED))
    for name in sys.argv[1:] or [*PARTS, *INSTEAD, *WITHIN]:
        cells = breakdown([name])[name]
        print(f"{name:20}" + "".join(f"{cells[kind]:17,}" for kind in COUNTED), flush=True)
