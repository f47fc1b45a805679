"""The report shows a run's figures, needs no other file, and its results survive the disk."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest

from quietbar.contract.errors import QuietbarError
from quietbar.experiment.report import render
from quietbar.experiment.results import (
    BlockRow,
    Column,
    Comparison,
    Results,
    SweepPoint,
    TapRow,
    describe_chip,
    load_results,
    summary,
)
from quietbar.noise import Chip, Variation, presets


@pytest.fixture
def results() -> Results:
    return Results(
        name="small",
        command="quietbar run recipes/small.toml",
        network="digits_network",
        sigma=0.5,
        reference="std",
        chips=(1, 2),
        test_images=300,
        network_parameters=10_000,
        block_parameters=188,
        columns=(
            Column("clean", (98.0,)),
            Column("noisy", (70.0, 72.0)),
            Column("denoised, float", (90.0, 91.0)),
            Column("denoised, integer", (89.9, 91.1)),
            Column("denoised, RTL", (89.9, 91.1)),
        ),
        sweep=(SweepPoint(0.0, (98.0, 98.0), (97.5, 97.9)), SweepPoint(0.5, (70.0, 72.0), (90.0, 91.0))),
        placement=(TapRow("stage1", 2.5, 188, 4, "block"), TapRow("<stage2>", 1.5, 632, 8, "none")),
        blocks=(BlockRow("stage1", "16 x 8 x 8", 300, 270.0, 270, 40, 0.95, {"LUT4": 1234}),),
        comparisons=(Comparison("stage1, chip 1", 1000, 8000, 0, 5000),),
        versions={"quietbar": "0.1.0"},
        recipe={"name": "small"},
        variation="temporal noise of 0.5 (of each analog layer's std)",
    )


def test_a_chip_is_described_by_all_that_varies() -> None:
    variation = Variation(sigma=0.25, gain_mismatch=0.1, nu=0.05, noise_growth=0.01, seconds=3600)
    assert describe_chip(Chip(1, variation)) == (
        "temporal noise of 0.25, gain mismatch of 0.1 (of each analog layer's std), 3,600 s old (drift 0.05, noise "
        "growth 0.01)"
    )
    chip = Chip(1, Variation(), replace(presets.conductance_by_name("pcm"), seconds=86400.0))
    assert describe_chip(chip, "pcm").endswith("no variation (of each analog layer's std), weights on pcm of 86,400 s")


def test_the_summary_holds_the_table_and_the_bits(results: Results) -> None:
    text = summary(results)
    assert re.search(r"denoised, RTL +90\.50 \+- 0\.85 +-7\.50", text)
    assert "188 in the blocks (1.88 %)" in text
    assert re.search(r"bits differing +0$", text, re.MULTILINE)


def test_the_report_is_one_file_with_every_section(results: Results) -> None:
    page = render(results)
    for heading in ("Accuracy on test images", "Accuracy against noise", "Where the blocks went", "LUT4", "8,000"):
        assert heading in page
    assert page.count("<svg") == 2
    assert not re.search(r"""(src|href)=["']https?:""", page.replace("xlink:href", ""))
    assert "&lt;stage2&gt;" in page and "<stage2>" not in page.replace("&lt;stage2&gt;", "")


def test_differing_bits_stand_out(results: Results) -> None:
    wrong = replace(results, comparisons=(Comparison("stage1", 1000, 8000, 3, 5000),))
    assert 'class="bad">3<' in render(wrong)


def test_results_survive_the_disk_and_damage_is_named(results: Results, tmp_path: Path) -> None:
    path = results.save(tmp_path)
    assert load_results(tmp_path) == results
    path.write_text(path.read_text()[:100])
    with pytest.raises(QuietbarError, match="damaged"):
        load_results(tmp_path)
    path.unlink()
    with pytest.raises(QuietbarError, match="a finished run writes it"):
        load_results(tmp_path)
