"""Configurations come from plain mappings and refuse what does not fit, by name."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import pytest

from quietbar.configuration import from_mapping, to_mapping
from quietbar.contract.errors import ConfigurationError


@dataclass(frozen=True)
class Engine:
    lanes: int = 4
    mode: Literal["mean", "sampling"] = "mean"


@dataclass(frozen=True)
class Car:
    name: str
    speed: float = 1.0
    limit: float | None = None
    gears: tuple[int, ...] = (1, 2)
    engine: Engine = field(default_factory=Engine)


def test_a_mapping_becomes_nested_dataclasses_and_goes_back() -> None:
    values = {"name": "x", "speed": 2, "gears": [3, 4], "engine": {"lanes": 8}}
    car = from_mapping(Car, values)
    assert car == Car("x", 2.0, None, (3, 4), Engine(8))
    assert isinstance(car.speed, float)
    assert from_mapping(Car, to_mapping(car)) == car


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"name": "x", "sped": 1}, "sped = 1: must be absent (did you mean 'speed'?)"),
        ({}, "name = None: must be given"),
        ({"name": 3}, "name = 3: must be a string"),
        ({"name": "x", "speed": "fast"}, "speed = 'fast': must be a number"),
        ({"name": "x", "speed": True}, "speed = True: must be a number"),
        ({"name": "x", "engine": {"lanes": 1.5}}, "engine.lanes = 1.5: must be an integer"),
        ({"name": "x", "engine": {"mode": "median"}}, "engine.mode = 'median': must be one of 'mean', 'sampling'"),
        ({"name": "x", "engine": 3}, "engine = 3: must be a table of fields"),
        ({"name": "x", "gears": 3}, "gears = 3: must be a list"),
        ({"name": "x", "gears": [1, "two"]}, "gears[1] = 'two': must be an integer"),
    ],
)
def test_what_does_not_fit_is_refused_by_name(values: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        from_mapping(Car, values)
    assert message in str(caught.value)
