"""Sweeps: every combination once, shared stages once, and a worker killed in the middle loses nothing."""

import importlib.util
import json
import os
import signal
import threading
import time

import pytest

from quietbar.cli import main
from quietbar.commands.sweep import split_values
from quietbar.contract.errors import ConfigurationError
from quietbar.experiment.folder import RESULT, RunFolder
from quietbar.experiment.line import SoftwareLine
from quietbar.experiment.sweep import TABLE, code_digest, points, sweep

RECIPE = "recipes/digits.toml"
QUICK = [
    "model.training.epochs=1", "noise.images=60", "noise.calibration=60", "noise.sweep=[0.0, 1.0]",
    "placement.images=60", "blocks.epochs=1", "blocks.images=100", "evaluation.images=60", "evaluation.chips=[1]",
    "evaluation.chunk=60",
]  # fmt: skip
OVER = {"blocks.seed": ["0", "1"], "placement.budget": ["0.03", "0.05"]}


def test_points_are_all_combinations_and_checked_at_once():
    found = points([RECIPE], OVER, QUICK)
    assert [point.name for point in found] == [
        f"{RECIPE} blocks.seed={seed} placement.budget={budget}" for seed in "01" for budget in ("0.03", "0.05")
    ]
    assert [point.recipe.blocks.seed for point in found] == [0, 0, 1, 1]
    assert {point.recipe.blocks.epochs for point in found} == {1}
    with pytest.raises(ConfigurationError, match=r"blocks\.nonsense"):
        points([RECIPE], {"blocks.nonsense": ["1"]})
    with pytest.raises(ConfigurationError, match=r"sweep\.points"):
        points([RECIPE, RECIPE], {})


def test_values_of_a_sweep_may_be_lists():
    assert split_values("0,1") == ["0", "1"]
    values = split_values("[0.7, 1.2, 0.0],[0.0, 1.25, 0.1]")
    found = points([RECIPE], {"blocks.factors": values}, QUICK)
    assert [point.recipe.blocks.factors for point in found] == [(0.7, 1.2, 0.0), (0.0, 1.25, 0.1)]
    assert split_values("{ a = 1, b = 2 },3") == ["{ a = 1, b = 2 }", "3"]


def test_mistakes_at_the_command_line_are_told_in_one_line(capsys):
    for words, message in (
        (["--over", "blocks.seed"], "--over = 'blocks.seed'"),
        (["--workers", "0"], "--workers = 0"),
        (["--over", "blocks.seed=x"], "blocks.seed"),
    ):
        assert main(["sweep", RECIPE, *words]) == 2
        assert message in capsys.readouterr().err


def test_the_code_has_one_digest_until_it_changes(monkeypatch):
    assert code_digest() == code_digest()
    before = code_digest()
    monkeypatch.setattr("torch.__version__", "0")
    assert code_digest() != before


def test_a_stage_that_two_runs_want_is_computed_once(tmp_path):
    computed, found = [], []

    def compute(folder):
        computed.append(folder)
        time.sleep(0.2)
        return {"value": 7}

    def run():
        found.append(RunFolder(tmp_path, lambda text: None).stage("stage", {}, (), compute).values)

    threads = [threading.Thread(target=run) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(computed) == 1
    assert found == [{"value": 7}] * 3


def test_a_worker_killed_in_the_middle_loses_nothing_and_nothing_runs_twice(tmp_path):
    if importlib.util.find_spec("distributed") is None:
        pytest.skip("distributed is not installed: pip install 'quietbar[sweep]'")
    import distributed

    wanted, killed = points([RECIPE], OVER, QUICK), []
    with distributed.Client(n_workers=2, threads_per_worker=1, dashboard_address=None) as client:

        def kill_one_at_work():
            """Once a first stage is finished somewhere, a worker that has a task is killed."""
            while not list(tmp_path.rglob(RESULT)):
                time.sleep(0.05)
            pids = client.run(os.getpid)
            busy = [address for address, tasks in client.processing().items() if tasks]
            os.kill(pids[busy[0]], signal.SIGKILL)
            killed.append(pids[busy[0]])

        killer = threading.Thread(target=kill_one_at_work)
        killer.start()
        found = sweep(wanted, tmp_path, client)
        killer.join()
        assert len(killed) == 1
        assert found["complete"]
        assert [row["point"] for row in found["points"]] == [point.name for point in wanted]
        assert json.loads((tmp_path / TABLE).read_text()) == found

        # Every result was written once: two seeds at two budgets share the network and the noise level.
        results = {path: path.stat().st_mtime_ns for path in tmp_path.rglob(RESULT)}
        stages = [path.parent.name.split("-")[0] for path in results]
        assert stages.count("network") == stages.count("noise") == 1
        assert stages.count("blocks") == len(wanted)
        assert sweep(wanted, tmp_path, client) == found
        assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob(RESULT)} == results

    # The same as in one process, read back or not.
    alone = SoftwareLine(wanted[0].recipe, tmp_path / "alone")
    accuracies = {name: list(column.accuracies) for name, column in alone.columns.items()}
    assert accuracies == found["points"][0]["accuracies"]
