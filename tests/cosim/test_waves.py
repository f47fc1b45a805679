"""Timing diagrams: drawn from a simulation, and those of the document are the ones that it gives."""

from pathlib import Path

import pytest

from quietbar_cosim.waves import bit_row, bus_row, clock_row, diagrams, in_document, record, renew

DOCUMENT = Path(__file__).parents[2] / "docs" / "hardware.md"


@pytest.fixture(scope="module")
def drawn():
    return diagrams(record())


def test_rows_have_six_characters_a_cycle():
    assert clock_row(2) == "/~~\\__/~~\\__"
    assert bit_row([0, 1, 1, 0]) == "______/~~~~~~~~~~~\\_____"
    assert bus_row([None, 1, 1, 2]) == "------<    1     >< 2  >"


def test_the_documents_diagrams_are_what_the_simulation_gives(drawn):
    """Where this fails, `python tools/draw_timing.py` is due."""
    assert in_document(DOCUMENT.read_text()) == drawn


def test_a_diagram_that_differs_is_renewed(drawn, tmp_path):
    file = tmp_path / "page.md"
    file.write_text("Before.\n\n<!-- timing: register read -->\n```\nclk  of old\n```\n\nAfter.\n")
    assert renew(file, drawn) == ["register read"]
    assert in_document(file.read_text()) == {"register read": drawn["register read"]}
    assert file.read_text().startswith("Before.") and file.read_text().endswith("After.\n")
    assert renew(file, drawn) == []
