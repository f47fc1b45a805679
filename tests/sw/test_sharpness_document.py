"""The programs in docs/sharpness.md run as they are written there, and do what is said of them."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from quietbar.sharpness import NoiseInjection, SharpnessAware, WeightClipping

PROGRAMS = re.findall(
    r"```python\n(.*?)```", (Path(__file__).parents[2] / "docs" / "sharpness.md").read_text(), re.DOTALL
)
BEFORE, AFTER, OTHER, TOGETHER, BY_HAND = range(5)


def run(program: str, seed: int = 0) -> dict[str, Any]:
    """The names that the program leaves; ``model``, ``criterion`` and ``batches`` are there before it."""
    torch.manual_seed(seed)
    model = nn.Sequential(nn.Linear(6, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 3))
    batches = [(torch.randn(12, 6), torch.arange(12) % 3) for _ in range(4)]
    names = {"torch": torch, "model": model, "criterion": nn.CrossEntropyLoss(), "batches": batches}
    exec(program, names)
    return names


def weights(names: dict[str, Any]) -> torch.Tensor:
    return torch.cat([value.flatten() for value in names["model"].state_dict().values()])


def test_there_are_the_programs_that_these_tests_know() -> None:
    assert len(PROGRAMS) == 5


def test_five_lines_make_a_loop_sharpness_aware() -> None:
    before, after = PROGRAMS[BEFORE].splitlines(), PROGRAMS[AFTER].splitlines()
    plain = {line.strip() for line in before}
    new = [line for line in after if line.strip() and line.strip() not in plain]
    assert len(new) == 5 and all(line.endswith(f"  # {number}") for number, line in enumerate(new, 1))
    found = run(PROGRAMS[AFTER])
    assert isinstance(found["optimizer"], SharpnessAware)
    assert (found["optimizer"].steps, found["optimizer"].passes, found["optimizer"].skipped_steps) == (4, 8, 0)
    assert not torch.equal(weights(found), weights(run(PROGRAMS[BEFORE])))


def test_with_no_radius_the_five_lines_change_no_bit() -> None:
    without = PROGRAMS[AFTER].replace('"samson"', '"samson", 0.0')
    assert torch.equal(weights(run(without)), weights(run(PROGRAMS[BEFORE])))


def test_another_method_is_another_second_line() -> None:
    second = PROGRAMS[OTHER].splitlines()[-1]
    program = re.sub("optimizer = SharpnessAware.*", second, PROGRAMS[AFTER])
    found = run("from quietbar.sharpness import method\n" + program)
    assert isinstance(found["optimizer"], WeightClipping) and found["optimizer"].passes == 4
    weight = found["model"][0].weight.detach()
    assert float(weight.abs().max()) < 2 * float(weight.std())


def test_methods_go_together() -> None:
    before_loop = PROGRAMS[AFTER].splitlines()
    loop = "\n".join(before_loop[before_loop.index("for inputs, labels in batches:") :])
    found = run(f"{PROGRAMS[TOGETHER]}{loop}")
    assert isinstance(found["optimizer"].base, WeightClipping) and found["optimizer"].passes == 8
    weight = found["model"][0].weight.detach()
    assert float(weight.abs().max()) < 2 * float(weight.std())
    found = run(f"{PROGRAMS[TOGETHER]}optimizer = on_noisy_chips\n{loop}")
    assert isinstance(found["optimizer"].base, NoiseInjection) and found["optimizer"].passes == 8


@pytest.mark.parametrize("scaler", ["GradScaler", "none"])
def test_call_by_call_the_steps_are_those_of_the_closure(scaler: str) -> None:
    by_hand = PROGRAMS[BY_HAND]
    if scaler == "none":
        by_hand = by_hand.replace("scaler.step(optimizer)", "optimizer.second_step()").replace("scaler.update()", "")
        by_hand = re.sub(r"scaler\.scale\((.*)\)\.backward", r"(\1).backward", by_hand)
    found = run(by_hand)
    assert found["optimizer"].steps == 4
    closure = run(PROGRAMS[AFTER].replace(", momentum=0.9", ""))
    # The scale is a power of two: no bit changes.
    assert torch.equal(weights(found), weights(closure))
