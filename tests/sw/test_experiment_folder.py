"""A run's folder keeps every finished stage and goes on where it was interrupted."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from quietbar.experiment.folder import RunFolder


class Interrupted(Exception):
    pass


def test_a_stage_runs_once_and_again_when_what_decides_it_changes(tmp_path: Path) -> None:
    calls: list[str] = []

    def compute(folder: Path) -> dict[str, Any]:
        calls.append(folder.name)
        return {"value": len(calls)}

    run = RunFolder(tmp_path, announce=lambda text: None)
    first = run.stage("train", {"epochs": 1}, (), compute)
    assert run.stage("train", {"epochs": 1}, (), compute) == first
    other = run.stage("train", {"epochs": 2}, (), compute)
    assert (first.values, other.values, len(calls)) == ({"value": 1}, {"value": 2}, 2)
    after_first = run.stage("place", {}, (first,), compute)
    after_other = run.stage("place", {}, (other,), compute)
    assert after_first.key != after_other.key


def test_an_interrupted_stage_finds_its_partial_work(tmp_path: Path) -> None:
    def compute(folder: Path) -> dict[str, Any]:
        partial = folder / "partial"
        if not partial.exists():
            partial.write_text("half")
            raise Interrupted
        return {"from": partial.read_text()}

    run = RunFolder(tmp_path, announce=lambda text: None)
    with pytest.raises(Interrupted):
        run.stage("train", {}, (), compute)
    assert run.stage("train", {}, (), compute).values == {"from": "half"}
