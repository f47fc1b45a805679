"""The table of the watched designs in the documents is what the baseline says."""

import json
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
BASELINE = json.loads((ROOT / "hw/synth/baseline.json").read_text())


@pytest.fixture(scope="module")
def synthesis(tool):
    return tool("synthesis_table")


def test_the_documented_table_is_that_of_the_baseline(synthesis):
    assert synthesis.table_of(BASELINE) in (ROOT / "docs/synthesis.md").read_text()


def test_a_design_is_named_once(synthesis):
    rows = list(synthesis.rows_of(BASELINE["results"]))
    assert [row[0] for row in rows if row[0]] == [f"`{name}`" for name in BASELINE["results"]]
    assert len(rows) == sum(map(len, BASELINE["results"].values()))
