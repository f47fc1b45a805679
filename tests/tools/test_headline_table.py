"""The table and the picture of all networks in the documents are what the results in ``docs/results`` say."""

import json
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
RESULTS = sorted((ROOT / "docs/results").glob("*.json"))


@pytest.fixture(scope="module")
def headline(tool):
    return tool("headline_table")


def test_the_documented_table_is_that_of_the_results(headline):
    assert headline.table_of(RESULTS) in (ROOT / "docs/results.md").read_text()


def test_the_documented_averages_are_those_of_the_networks(headline):
    averages = headline.averages_of(RESULTS)
    readme, results = ((ROOT / name).read_text() for name in ("README.md", "docs/results.md"))
    for variation in ("columns, chip by chip", "every result, all the time"):
        noisy, floating, integer = (f"{mean:.2f}" for mean in averages[variation])
        assert re.search(rf"\| {noisy} \| {floating} \| (\*\*)?{integer}(\*\*)? \|", readme), variation
        assert re.search(rf"{noisy[1:]} points becomes? {integer[1:]}", results), variation


def test_a_row_is_points_from_clean_over_chips(headline, tmp_path):
    result = json.loads((ROOT / "docs/results/cifar10-resnet20-chips.json").read_text())
    result["accuracies"] |= {"clean": [90.0], "noisy": [50.0, 60.0], "tuned, integer": [89.0, 88.0]}
    path = tmp_path / "result.json"
    path.write_text(json.dumps(result))
    *_, row = headline.table_of([path]).splitlines()
    assert row.startswith("| resnet20, cifar10 | columns, chip by chip | 90.00 | -35.00 ± 7.07 |")
    assert "| -1.50 ± 0.71 |" in row


def test_a_row_says_how_old_the_devices_were_and_how_many_images_were_not_all(headline):
    result = json.loads((ROOT / "docs/results/cifar10-resnet20-aged.json").read_text())
    assert next(headline.rows_of(result))[:2] == ("resnet20, cifar10", "pcm devices and columns, fresh")
    result["recipe"]["noise"]["seconds"] = 2_592_000.0
    result["recipe"]["evaluation"]["images"] = 2000
    row = next(headline.rows_of(result))
    assert row[:2] == ("resnet20, cifar10, 2,000 test images", "pcm devices and columns, tuned at 30 days")


def test_the_picture_is_that_of_the_results(tool):
    picture = tool("plot_headline")
    entries = picture.entries_of(RESULTS)
    drawn = (ROOT / "docs/results/headline.svg").read_text()
    again = "python tools/plot_headline.py docs/results/*.json"
    assert picture.description(entries) in drawn, f"figures have changed since it was drawn: {again}"


def test_a_picture_is_written_and_shows_points_from_clean_of_every_chip(tool, tmp_path):
    picture = tool("plot_headline")
    result = json.loads((ROOT / "docs/results/cifar10-resnet20-aged.json").read_text())
    entry = picture.entry_of(result)
    assert entry.variation == "devices" and entry.ages == ("fresh", "1 hour", "1 day", "30 days")
    clean = result["accuracies"]["clean"][0]
    assert entry.blocks[3] == tuple(v - clean for v in result["accuracies"]["tuned, integer, 30 days"])
    picture.write([entry], tmp_path / "picture.svg")
    assert picture.description([entry]) in (tmp_path / "picture.svg").read_text()
    result["accuracies"]["noisy"][0] += 0.01
    assert picture.description([picture.entry_of(result)]) != picture.description([entry])
