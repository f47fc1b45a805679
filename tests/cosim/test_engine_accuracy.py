"""``quietbar accuracy`` on an engine: all blocks on one RTL, chunks side by side, every activation the reference's."""

import json
import re
import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch

from quietbar import cli
from quietbar.contract import BlockConfig
from quietbar.contract.engine import EngineConfig, Section
from quietbar.contract.errors import ConfigurationError
from quietbar.experiment.hardware_recipe import EngineRecipe, HardwareRecipe
from quietbar.integer import Bundle, IntegerTap, Scales, random_parameters
from quietbar.integer.block import run_block
from quietbar.integer.image import engine_image, load_image
from quietbar_cosim.blocks import random_frames
from quietbar_cosim.engine import RTLEngine, run_cycles
from quietbar_cosim.engine_accuracy import engine_for

# That of test_rtl_engine.py, so that its simulator is built once.
ENGINE = EngineConfig(
    lanes=2, group=2, channels=8, hidden=4, height=6, width=6, blocks=4, matrix_rows=32, window_rows=32, hidden_rows=8,
    channel_rows=16,
)  # fmt: skip
QUICK = [
    "model.training.epochs=2",
    "noise.images=60",
    "noise.calibration=60",
    "placement.images=60",
    "placement.budget=0.03",
    "blocks.epochs=1",
    "blocks.images=200",
    "evaluation.images=60",
    "evaluation.batch=10",
    "evaluation.chunk=20",
    "evaluation.chips=[1, 2]",
    "hardware.engine.lanes=4",
    "hardware.engine.group=2",
    "hardware.engine.outputs=2",
]


def words(folder):
    return ["recipes/digits.toml", "--folder", str(folder), *(word for each in QUICK for word in ("--set", each))]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("run")


@pytest.fixture(scope="module")
def measured(folder):
    assert cli.main(["accuracy", *words(folder)]) == 0
    (found,) = folder.glob("rtl-engine-*")
    return found


def test_every_activation_of_every_image_is_compared(folder, measured, capsys):
    assert cli.main(["accuracy", *words(folder)]) == 0
    values = json.loads((measured / "result.json").read_text())["values"]
    counts = [tally for chip in values["taps"].values() for tally in chip.values()]
    assert {tally["frames"] for tally in counts} == {60}
    (bundle,) = folder.glob("bundle-*/result.json")
    taps = json.loads(bundle.read_text())["values"]["taps"]
    elements = sum(tap["channels"] * tap["height"] * tap["width"] for tap in taps.values())
    printed = capsys.readouterr().out
    assert f"{2 * 60 * elements} outputs compared, 0 bits differ" in printed
    cycles, predicted = re.search(r"([\d,]+) cycles .* the cycle model says ([\d,]+)", printed).groups()
    assert cycles == predicted
    whole, *parts = map(float, re.search(r"an image: ([\d.]+) ms \(RTL ([\d.]+), reference ([\d.]+)", printed).groups())
    assert 0 < sum(parts) < whole


def test_the_engines_network_is_the_reference(folder, measured):
    """The column in software, measured independently, has the same predictions, whichever worker had a chunk."""
    assert cli.main(["evaluate", *words(folder), "--output", str(folder / "evaluated")]) == 0
    (software,) = (path.parent for path in folder.glob("accuracy-*/result.json"))
    for chip in (1, 2):
        for first in (0, 20, 40):
            rtl = json.loads((measured / f"rtl-{chip}-{first}.json").read_text())
            reference = json.loads((software / f"denoised-integer-{chip}-{first}.json").read_text())
            assert rtl["predictions"] == reference["predictions"]


def test_each_chips_own_blocks_are_in_the_engines_memory_when_it_is_that_chips_turn(folder, measured, capsys):
    tuning = ["--set", "blocks.tuning.epochs=2", "--set", "blocks.tuning.images=200", "--set", "hardware.threads=1"]
    options = [*words(folder), *tuning]
    assert cli.main(["accuracy", *options]) == 0
    assert "tuned, RTL" in (printed := capsys.readouterr().out) and "0 bits differ" in printed
    assert cli.main(["evaluate", *options, "--output", str(folder / "tuned")]) == 0
    (rtl,) = (path for path in folder.glob("rtl-engine-*") if path != measured)
    (software,) = {path.parent for path in folder.glob("accuracy-*/tuned-integer-1-0.json")}
    for chip in (1, 2):
        for first in (0, 20, 40):
            found, reference = (
                json.loads(path.read_text())["predictions"]
                for path in (rtl / f"rtl-{chip}-{first}.json", software / f"tuned-integer-{chip}-{first}.json")
            )
            assert found == reference
    shutil.rmtree(rtl)
    shutil.rmtree(software)


def counted(values):
    """All that a measurement finds but times."""
    taps = values["taps"].items()
    integers = [
        (chip, tap, name, value)
        for chip, tallies in taps
        for tap, tally in tallies.items()
        for name, value in tally.items()
        if isinstance(value, int)
    ]
    return values["accuracies"], integers


def test_an_interrupted_measurement_goes_on_with_the_chunks_that_are_missing(folder, measured, monkeypatch):
    before = json.loads((measured / "result.json").read_text())["values"]
    (measured / "result.json").unlink()
    lost = measured / "rtl-2-20.json"
    lost.unlink()
    times = {path: path.stat().st_mtime_ns for path in measured.glob("rtl-*.json")}
    assert cli.main(["accuracy", *words(folder)]) == 0
    after = json.loads((measured / "result.json").read_text())["values"]
    assert counted(after) == counted(before)
    assert lost.exists()
    assert {path: path.stat().st_mtime_ns for path in times} == times, "what was done stays"


def test_a_bit_of_the_memory_that_differs_is_told_and_ends_with_status_1(
    folder, measured, tmp_path, monkeypatch, capsys
):
    def planted(bundle, engine):
        """The first bias of the first block's mean head is wrong in one bit."""
        image, address = engine_image(bundle, engine), engine.address(Section.MEAN_SCALE)
        writes = tuple((at, word ^ 1 << 20 if at == address else word) for at, word in image.writes)
        return replace(image, writes=writes)

    (measured / "result.json").unlink()
    for path in measured.glob("rtl-*.json"):
        path.rename(tmp_path / path.name)
    monkeypatch.setattr("quietbar_cosim.engine.engine_image", planted)
    try:
        assert cli.main(["accuracy", *words(folder)]) == 1
        printed = capsys.readouterr().out
        assert int(re.search(r"outputs compared, (\d+) bits differ", printed)[1]) > 0
        saved = re.search(r"the engine's image and the frame are in (\S+)", printed)[1]
        assert re.search(r"frame \d+, channel \d+, row \d+, column \d+: expected -?\d+, got -?\d+", printed)
        frame = np.load(f"{saved}/frame.npz")
        assert (frame["got"] != frame["expected"]).any() and frame["activations"].shape == frame["got"].shape
        assert load_image(saved).writes != ()
    finally:
        for path in [*measured.glob("rtl-*.json"), measured / "result.json"]:
            path.unlink(missing_ok=True)
        for path in tmp_path.glob("rtl-*.json"):
            path.rename(measured / path.name)
        assert cli.main(["accuracy", *words(folder)]) == 0


def test_a_worker_that_fails_ends_the_measurement(folder, measured, monkeypatch):
    (measured / "result.json").unlink()
    kept = {path: path.read_text() for path in measured.glob("rtl-*.json")}
    for path in kept:
        path.unlink()

    def failing(*arguments, **options):
        raise RuntimeError("planted")

    monkeypatch.setattr("quietbar_cosim.compared.compare", failing)
    with pytest.raises(RuntimeError, match="planted"):
        cli.main(["accuracy", *words(folder)])
    assert not list(measured.glob("rtl-*.json"))
    for path, text in kept.items():
        path.write_text(text)


@pytest.mark.parametrize("block", [BlockConfig(8, 4, 6, 5), BlockConfig(5, 3, 1, 2, "dense"), BlockConfig(4, 2, 6, 6)])
def test_cycles_of_long_runs_are_those_of_the_rtl(block):
    """The model is run on a few frames only; the RTL on all of them."""
    scales = Scales(activation=0.1, reduce=0.1, spatial=0.1)
    bundle = Bundle({"tap": IntegerTap("tap", random_parameters(block, 3), scales)})
    frames = random_frames(block, 300, 1)
    rtl = RTLEngine(bundle, ENGINE, threads=1)
    assert torch.equal(rtl.tap(bundle, "tap")(frames), run_block(block, bundle.tap("tap").parameters, frames))
    rtl.close()
    assert rtl.cycles == rtl.predicted_cycles == run_cycles(ENGINE, block, 300)


def test_the_engine_of_a_recipe_is_as_large_as_its_blocks():
    scales = Scales(activation=0.1, reduce=0.1, spatial=0.1)
    blocks = {"a": BlockConfig(16, 8, 6, 5), "b": BlockConfig(20, 3, 4, 9)}
    bundle = Bundle({name: IntegerTap(name, random_parameters(block, 3), scales) for name, block in blocks.items()})
    found = engine_for(bundle, EngineRecipe(lanes=8, group=4, outputs=4))
    assert (found.channels, found.hidden, found.height, found.width, found.blocks) == (24, 8, 6, 9, 2)
    assert (found.noise, found.kernels, found.hidden_rows, found.channel_rows) == (False, "depthwise", 3, 5)
    dense = IntegerTap("c", random_parameters(BlockConfig(4, 4, 3, 3, "dense"), 1), scales)
    assert engine_for(Bundle({**bundle.taps, "c": dense}), EngineRecipe()).kernels == "both"


@pytest.mark.parametrize(("field", "value"), [("lanes", 3), ("group", 0), ("outputs", 8)])
def test_an_engine_that_cannot_be_is_refused_by_name(field, value):
    with pytest.raises(ConfigurationError, match=rf"hardware\.engine\.{field} = {value}"):
        HardwareRecipe(engine=EngineRecipe(**{field: value}))
