"""Two processes under torchrun train the blocks that one process trains, to rounding."""

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from quietbar import denoise
from quietbar.contract.errors import ConfigurationError
from quietbar.denoise import Objective

PROGRAM = Path(__file__).with_name("block_workers_program.py")
specification = importlib.util.spec_from_file_location("block_workers_program", PROGRAM)
assert specification is not None and specification.loader is not None
program = importlib.util.module_from_spec(specification)
specification.loader.exec_module(program)

TOLERANCE = 2e-3
"""Of weights after six steps of Adam at 5e-3 in 32-bit numbers, whose sums are taken in another order."""


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    """What each of the two workers found."""
    folder = tmp_path_factory.mktemp("workers")
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", PROGRAM, folder]
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, timeout=900, check=False)
    assert done.returncode == 0, done.stderr[-4000:]
    return [torch.load(folder / f"{rank}.pt") for rank in range(program.WORKERS)]


def distance(first, second, what):
    """The largest difference, and the largest number of the second."""
    differences = [float((a - b).abs().max()) for a, b in zip(first[what], second[what], strict=True)]
    return max(differences)


@pytest.mark.parametrize("case", program.CASES)
def test_the_workers_agree_to_the_bit(found, case):
    for what in ("weights", "statistics"):
        assert all(torch.equal(a, b) for a, b in zip(found[0][case][what], found[1][case][what], strict=True))
    assert found[0][case]["losses"] == found[1][case]["losses"]


@pytest.mark.parametrize("case", program.CASES)
def test_two_workers_train_what_one_process_trains(found, case):
    alone = program.train(case)
    assert distance(found[0][case], alone, "weights") < TOLERANCE
    assert distance(found[0][case], alone, "statistics") < TOLERANCE
    assert found[0][case]["losses"] == pytest.approx(alone["losses"], rel=1e-4)
    assert distance(alone, {"weights": list(map(torch.zeros_like, alone["weights"]))}, "weights") > 0.1


def test_statistics_of_each_workers_own_part_show(found):
    """The comparison above can fail."""
    assert distance(found[0]["own statistics"], program.train("one chip"), "weights") > 2 * TOLERANCE


def test_what_workers_would_do_otherwise_is_refused():
    torch.distributed.init_process_group("gloo", store=torch.distributed.HashStore(), rank=0, world_size=1)
    try:
        model = program.network()
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("quietbar.denoise.workers.count", lambda: 5)
            with pytest.raises(
                ConfigurationError, match=r"train.objective.features = 1.0: must be 0 for several workers"
            ):
                denoise.train(model, program.images(), 1, objective=Objective(features=1.0), progress=False)
            with pytest.raises(ConfigurationError, match=r"train.batch = 16: must be a multiple of the 5 workers"):
                denoise.train(model, program.images(), 1, progress=False)
    finally:
        torch.distributed.destroy_process_group()
