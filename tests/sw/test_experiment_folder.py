"""A run's folder keeps every finished stage and goes on where it was interrupted."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from torch import nn

from quietbar.contract.errors import QuietbarError
from quietbar.experiment.folder import RESULT, RunFolder
from quietbar.experiment.state import load_state, save_state


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


def test_a_damaged_result_is_named_with_how_to_get_it_anew(tmp_path: Path) -> None:
    run = RunFolder(tmp_path, announce=lambda text: None)
    result = run.stage("train", {}, (), lambda folder: {"loss": 1.0}).folder / RESULT
    whole = result.read_text()
    for text in ("", whole[: len(whole) // 2], "[]", "{}"):
        result.write_text(text)
        with pytest.raises(QuietbarError, match=r"result\.json is damaged \(.*\); delete .*train-\w+ to"):
            run.stage("train", {}, (), lambda folder: {"loss": 1.0})
    result.write_text(whole)
    assert run.stage("train", {}, (), lambda folder: {"loss": 2.0}).values == {"loss": 1.0}


def test_damaged_weights_are_named_likewise(tmp_path: Path) -> None:
    model, file = nn.Linear(2, 2), tmp_path / "network.pt"
    save_state(model, file)
    load_state(model, file)
    for content in (b"", b"no weights", file.read_bytes()[:100]):
        file.write_bytes(content)
        with pytest.raises(QuietbarError, match=r"network\.pt is damaged \("):
            load_state(model, file)
