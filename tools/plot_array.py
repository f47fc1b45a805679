"""Draw docs/array/ir-drop.svg: what the resistance of its wires makes of an array's conductances."""

from __future__ import annotations

from pathlib import Path

import matplotlib
import numpy

matplotlib.use("svg")
from matplotlib import pyplot

from quietbar.analog import Wires, effective_conductances

SIZE = 128
MICROSIEMENS = 10.0
OHMS = (0.5, 2.0, 8.0)
TARGET = Path(__file__).parents[1] / "docs" / "array" / "ir-drop.svg"


def main() -> None:
    """Solve, draw, write."""
    pyplot.rcParams["svg.hashsalt"] = "quietbar"  # the same file every time
    figure, axes = pyplot.subplots(1, len(OHMS), figsize=(10, 3.4), sharey=True, layout="constrained")
    cells = numpy.full((SIZE, SIZE), MICROSIEMENS)
    for axis, ohms in zip(axes, OHMS, strict=True):
        ratio = effective_conductances(cells, Wires(row=ohms, column=ohms)) / cells
        image = axis.imshow(ratio, vmin=0, vmax=1, cmap="viridis", rasterized=True)
        axis.set_title(f"{ohms:g} ohm from cell to cell\n{ratio.min():.3f} to {ratio.max():.3f}", fontsize=10)
        axis.set_xlabel("column (drivers on the left)")
    axes[0].set_ylabel("row (amplifiers below)")
    figure.colorbar(image, ax=axes, label=f"effective / programmed, all cells {MICROSIEMENS:g} uS")
    TARGET.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(TARGET, metadata={"Date": None})
    print(TARGET)


if __name__ == "__main__":
    main()
