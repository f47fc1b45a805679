"""docs/numerics.md states the numbers that the contract has."""

import hashlib
import importlib
import json
import re
from functools import reduce
from pathlib import Path

import pytest

from quietbar.contract import block, crossbar, drift, gaussian
from quietbar.contract.stream import FrameKind
from quietbar.contract.uniform import COMPONENTS

TEXT = (Path(__file__).parents[2] / "docs" / "numerics.md").read_text()


@pytest.mark.parametrize(("name", "value"), re.findall(r"^\| `(\w+(?:\.\w+)+)` \| ([\d.]+) \|$", TEXT, re.MULTILINE))
def test_a_stated_constant_is_the_contract_s(name, value) -> None:
    module, *attributes = name.split(".")
    assert str(reduce(getattr, attributes, importlib.import_module(f"quietbar.contract.{module}"))) == value


@pytest.mark.parametrize(("name", "expected"), re.findall(r"^\| (\w+) \| `([0-9a-f]{64})` \|$", TEXT, re.MULTILINE))
def test_a_stated_hash_is_its_table_s(name, expected) -> None:
    table = next(getattr(module, name) for module in (gaussian, block, crossbar, drift) if hasattr(module, name))
    values = [table.base, table.slope] if isinstance(table, gaussian.InterpolationTable) else table
    assert hashlib.sha256(json.dumps(values).encode()).hexdigest() == expected


def test_the_components_of_the_uniform_source_are_those_in_the_table() -> None:
    rows = re.findall(r"^\| [1-5] \| (\d+) \| (\d+) \| (\d+) \|$", TEXT, re.MULTILINE)
    assert [tuple(map(int, row)) for row in rows] == [(each.order, each.tap, each.shift) for each in COMPONENTS]


def test_the_kinds_of_frames_are_those_in_the_table() -> None:
    rows = re.findall(r"^\| ([A-Z]+) \| (\d) \|", TEXT, re.MULTILINE)
    assert {name: int(number) for name, number in rows} == {kind.name: kind.value for kind in FrameKind}


def test_nothing_was_overlooked() -> None:
    assert len(re.findall(r"^\| `\w+(?:\.\w+)+` \|", TEXT, re.MULTILINE)) == 46
    assert len(re.findall(r"`[0-9a-f]{64}`", TEXT)) == 9
