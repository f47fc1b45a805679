"""Write the tables of docs/recipes.md anew, from what reads recipes: `python tools/document_recipes.py`."""

import sys
from pathlib import Path

from quietbar.experiment.recipe import Recipe
from quietbar.experiment.recipe_tables import tables
from quietbar.files import write_atomically
from quietbar.robustness.recipe import StudyRecipe

DOCUMENT = Path(__file__).parents[1] / "docs" / "recipes.md"
KINDS = {"recipe": Recipe, "study": StudyRecipe}


def renewed(document: str) -> str:
    """The document with the tables between its marks, ``<!-- recipe -->`` and ``<!-- end -->``, as they are now."""
    for mark, kind in KINDS.items():
        before, begun, rest = document.partition(f"<!-- {mark} -->")
        _, ended, after = rest.partition("<!-- end -->")
        assert begun and ended, f"{DOCUMENT} has no place for {mark}"
        document = f"{before}{begun}\n\n{tables(kind)}\n\n{ended}{after}"
    return document


def main() -> int:
    """Renew the document and say whether it changed."""
    before = DOCUMENT.read_text(encoding="utf-8")
    after = renewed(before)
    write_atomically(DOCUMENT, after)
    print(f"{DOCUMENT}: {'renewed' if after != before else 'nothing changed'}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
