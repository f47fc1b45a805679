"""Write the tables of fields in docs anew, from the dataclasses that have them: `python tools/document_fields.py`."""

import sys
from pathlib import Path

from quietbar.estimates import Hardware
from quietbar.experiment.recipe import Recipe
from quietbar.field_tables import tables
from quietbar.files import write_atomically
from quietbar.noise import Conductance
from quietbar.robustness.recipe import StudyRecipe

DOCS = Path(__file__).parents[1] / "docs"
PAGES = {
    "recipes.md": {"recipe": tables(Recipe), "study": tables(StudyRecipe)},
    "estimates.md": {"hardware": tables(Hardware, "Fields of `Hardware`", level=3)},
    "devices/conductance.md": {"conductance": tables(Conductance)},
}
"""Tables by their mark, ``<!-- mark -->``, behind which they stand, up to ``<!-- end -->``."""


def renewed(page: str, document: str) -> str:
    """The text of a page with its tables as they are now."""
    for mark, text in PAGES[page].items():
        before, begun, rest = document.partition(f"<!-- {mark} -->")
        _, ended, after = rest.partition("<!-- end -->")
        assert begun and ended, f"{page} has no place for {mark}"
        document = f"{before}{begun}\n\n{text}\n\n{ended}{after}"
    return document


def main() -> int:
    """Renew the pages and say which changed."""
    for page in PAGES:
        before = (DOCS / page).read_text(encoding="utf-8")
        after = renewed(page, before)
        write_atomically(DOCS / page, after)
        print(f"{DOCS / page}: {'renewed' if after != before else 'nothing changed'}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
