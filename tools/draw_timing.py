"""Draw the timing diagrams of docs/hardware.md anew, from a simulation of the engine: `python tools/draw_timing.py`."""

import sys
from pathlib import Path

from quietbar_cosim.waves import diagrams, record, renew

DOCUMENT = Path(__file__).parents[1] / "docs" / "hardware.md"


def main() -> int:
    """Renew the document and say what changed."""
    changed = renew(DOCUMENT, diagrams(record()))
    print(f"{DOCUMENT}: {', '.join(changed) if changed else 'nothing changed'}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
