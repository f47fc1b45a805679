"""Documents have every field of recipes, devices and arrays, with its default, as the code has it."""

from __future__ import annotations

import re
import runpy
import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import pytest

from quietbar.contract.errors import ConfigurationError
from quietbar.experiment.recipe import read_recipe
from quietbar.field_tables import tables
from quietbar.noise import Conductance

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"


@pytest.mark.parametrize(
    ("page", "default"),
    [("recipes.md", "| `0.02` |"), ("estimates.md", "| `1.5625` |"), ("devices/conductance.md", "| `25.0` |")],
)
def test_the_tables_are_those_of_the_code(page: str, default: str) -> None:
    """Where this fails, `python tools/document_fields.py` is due."""
    renewed = runpy.run_path(str(ROOT / "tools" / "document_fields.py"))["renewed"]
    text = (DOCS / page).read_text(encoding="utf-8")
    assert renewed(page, text) == text
    assert text.count(default) >= 1
    assert renewed(page, text.replace(default, "| `7` |")) == text, "a stale default is renewed"


def test_the_device_of_the_page_is_one() -> None:
    (program,) = re.findall(r"```toml\n(.*?)```", (DOCS / "devices" / "conductance.md").read_text("utf-8"), re.DOTALL)
    device = Conductance.from_dict(tomllib.loads(program))
    assert device.drift.is_active and device.faults.exist and device.programming.is_noisy
    with pytest.raises(ConfigurationError, match=r"conductance\.levls"):
        Conductance.from_dict(tomllib.loads(program.replace("levels", "levls")))


def test_the_least_recipe_of_the_page_is_one(tmp_path: Path) -> None:
    (program,) = re.findall(r"```toml\n(.*?)```", (DOCS / "recipes.md").read_text(encoding="utf-8"), re.DOTALL)
    (tmp_path / "small.toml").write_text(program)
    assert read_recipe(tmp_path / "small.toml").noise.sigma == 0.5


@dataclass(frozen=True)
class Cups:
    """Of one kind.

    Attributes:
        size: in ml.
    """

    size: float = 200.0


@dataclass(frozen=True)
class Tea:
    """A pot of it; ``water`` is not said.

    Attributes:
        leaves, sugar: in g,
            each; see :class:`Pot`.
        kind: black or green.
        names: of guests.
        cups: one entry a kind.
        milk: whether there is some.
    """

    cups: tuple[Cups, ...]
    leaves: int = 5
    sugar: int = 0
    kind: Literal["black", "green"] | None = None
    names: tuple[str, ...] = ("Ada",)
    milk: bool = field(default=False)


def test_a_table_has_kinds_defaults_and_meanings_and_a_section_for_each_inner_one() -> None:
    assert tables(Tea).splitlines() == [
        "## At the top",
        "",
        "A pot of it; `water` is not said.",
        "",
        "| key | value | default | what it is |",
        "|---|---|---|---|",
        "| `leaves`, `sugar` | integer | `5`, `0` | in g, each; see `Pot` |",
        '| `kind` | `"black"`, `"green"` | left out | black or green |',
        '| `names` | list, each text | `["Ada"]` | of guests |',
        "| `cups` | tables | must be given | one entry a kind |",
        "| `milk` | true or false | `false` | whether there is some |",
        "",
        "## `[[cups]]`",
        "",
        "Of one kind.",
        "",
        "| key | value | default | what it is |",
        "|---|---|---|---|",
        "| `size` | number | `200.0` | in ml |",
    ]


@dataclass(frozen=True)
class Silent(Cups):
    """One that says nothing of a field."""


@dataclass(frozen=True)
class Mistaken(Cups):
    """One that says something of a field that there is not.

    Attributes:
        size: in ml.
        color: blue.
    """


def test_a_field_that_no_docstring_describes_is_found_and_one_that_is_none() -> None:
    with pytest.raises(ValueError, match="Silent does not say what these are: size"):
        tables(Silent)
    with pytest.raises(ValueError, match="Mistaken has no field color"):
        tables(Mistaken)
