"""The folding chooser: the smallest engine that is fast enough and fits, and why where none does."""

import json

import pytest

from quietbar.cli import main
from quietbar.contract import BlockConfig, ConfigurationError
from quietbar.contract.descriptor import place, stage_cycles
from quietbar.contract.engine import EngineConfig
from quietbar.integer import Bundle, IntegerTap, Scales, random_parameters
from quietbar.integer.image import load_image, read_engine
from quietbar_hw.engine import choosing
from quietbar_hw.engine.choosing import NothingFits, choose, network_cycles, smallest_engine
from quietbar_hw.engine.timing import predict
from quietbar_hw.synthesis.devices import DEVICES

TAPS = (BlockConfig(4, 2, 4, 3), BlockConfig(2, 1, 2, 2))
DEVICE = DEVICES["ecp5-85"]
CLOCK = 10.0
RATE = 1e5
"""A hundred cycles a frame at this clock."""


@pytest.fixture(scope="module")
def choice():
    return choose(TAPS, RATE, DEVICE, clock=CLOCK, runners_up=1)


def test_what_is_chosen_is_fast_enough_and_fits(choice):
    assert len(choice.options) == 2
    for option in choice.options:
        assert option.cycles <= 100
        assert option.frames_per_second >= RATE
        assert not option.lacking()
        assert 0 < option.useful <= 1
        place(option.engine, TAPS)


def test_nothing_smaller_would_do(choice):
    """No parallelism with fewer multipliers is fast enough, by the bound that no engine is faster than."""
    fewest = min(option.engine.multipliers for option in choice.options)
    for lanes in (1, 2, 4):
        for group in (1, 2):
            for outputs in (1, 2)[:group]:
                engine = smallest_engine(lanes, group, outputs, TAPS)
                bound = sum(tap.pixels * max(stage_cycles(engine, tap).values()) for tap in TAPS)
                assert bound > 100 or engine.multipliers >= fewest
    shares = [max(option.shares().values()) for option in choice.options]
    assert shares == sorted(shares), "the one that leaves most of the device is chosen"


def test_cycles_are_those_of_the_cycle_model_to_the_last_one(choice):
    engine = choice.chosen.engine
    rounds = [predict(engine, TAPS, [0, 1] * count).cycles for count in (3, 4)]
    assert rounds[1] - rounds[0] == choice.chosen.cycles == network_cycles(engine, TAPS)


def test_an_engine_is_as_small_as_its_taps_allow():
    engine = smallest_engine(2, 2, 1, TAPS)
    assert engine == EngineConfig(
        2, 2, 1, channels=4, hidden=2, height=4, width=3, blocks=2, matrix_rows=3, window_rows=2, hidden_rows=2,
        channel_rows=3, noise=False, kernels="depthwise",
    )  # fmt: skip
    with pytest.raises(ConfigurationError):
        place(smallest_engine(2, 2, 1, TAPS[:1]), TAPS)


def test_where_nothing_fits_it_says_why_and_what_would():
    with pytest.raises(NothingFits) as told:
        choose(TAPS, RATE, DEVICES["ice40up5k"], clock=CLOCK)
    message = str(told.value)
    assert message.startswith(
        "no engine on ice40up5k at 10 MHz reaches 100,000 frames a second; the smallest that does"
    )
    assert "LUT of 80% of 5,280" in message
    assert "none fits at any rate" in message
    assert "ecp5-45 at 100 MHz" in message and "would do" in message


def test_a_rate_that_no_parallelism_reaches_is_told_with_what_can_be_had():
    with pytest.raises(NothingFits, match=r"the most parallel one takes 16 cycles a frame, 625,000 a second"):
        choose(TAPS, 1e6, DEVICE, clock=CLOCK)


def test_where_the_device_is_too_small_the_fastest_that_fits_is_told(monkeypatch):
    """Needs in proportion to multipliers make every answer plain."""
    monkeypatch.setattr(choosing, "_words", lambda engine: engine)
    monkeypatch.setattr(
        choosing, "estimate",
        lambda family, engine: {"LUT": 1000 * engine.multipliers, "FF": 0, "DSP": engine.multipliers, "RAM": 1},
    )  # fmt: skip
    with pytest.raises(NothingFits) as told:
        choose(TAPS, RATE, DEVICES["ecp5-25"], clock=CLOCK, fill=0.5)
    smallest = min(
        (each for each in choosing._candidates(TAPS, "box-muller") if each.bound <= 100),
        key=lambda each: each.engine.multipliers,
    )
    assert f"needs {1000 * smallest.engine.multipliers:,} LUT of 50% of 24,288" in str(told.value)
    fitting = [each for each in choosing._candidates(TAPS, "box-muller") if each.engine.multipliers <= 12]
    if fitting:
        cycles = min(network_cycles(each.engine, TAPS) for each in fitting)
        assert f"reaches {CLOCK * 1e6 / cycles:,.0f}" in str(told.value)
    assert "ecp5-85 at 10 MHz" in str(told.value)


@pytest.mark.parametrize(
    ("change", "field"),
    [({"frames_per_second": 0.0}, "fold.frames_per_second"), ({"clock": 0.0}, "fold.clock"),
     ({"fill": 1.5}, "fold.fill"), ({"blocks": ()}, "fold.taps"), ({"runners_up": -1}, "fold.runners_up")],
)  # fmt: skip
def test_bad_numbers_are_refused_by_name(change, field):
    given = {"blocks": TAPS, "frames_per_second": RATE, "device": DEVICE, **change}
    with pytest.raises(ConfigurationError, match=field):
        choose(**given)


def test_taps_that_no_engine_holds_are_refused():
    with pytest.raises(ConfigurationError, match="fraction_bits"):
        choose([TAPS[0], BlockConfig(4, 2, 4, 3, fraction_bits=3)], RATE, DEVICE)


def test_the_command_prints_the_choice_and_saves_the_engine(tmp_path, capsys, monkeypatch, choice):
    file = tmp_path / "engine.json"
    words = ["fold", "--taps", "4x4x3x2", "2x2x2x1", "--frames-per-second", str(RATE), "--clock", str(CLOCK)]
    assert main([*words, "--runners-up", "1", "--save", str(file)]) == 0
    printed = capsys.readouterr().out
    chosen = choice.chosen
    assert f"{chosen.cycles}" in printed and f"{chosen.needs['LUT']:,}" in printed
    assert "off by at most: LUT 15%" in printed
    assert read_engine(file) == chosen.engine
    assert main(["fold"]) == 2
    assert "--taps" in capsys.readouterr().err
    assert main([*words, "--device", "ecp5"]) == 2
    assert "one of 'ecp5-25'" in capsys.readouterr().err
    for wrong, field in (("--gaussian", "fold.source"), ("--frames-per-second", "fold.frames_per_second")):
        monkeypatch.setattr("quietbar_cosim.commands.fold.taps_of", None)
        assert main(["fold", "recipes/digits.toml", wrong, "-1"]) == 2, "told before a recipe's stages run"
        assert field in capsys.readouterr().err
    assert main(["fold", "--taps", "4x4"]) == 2
    assert "such as 16x32x32x4" in capsys.readouterr().err


def test_an_image_is_made_for_the_engine_that_is_chosen(tmp_path, capsys, monkeypatch, choice):
    scales = Scales(activation=0.1, reduce=0.1, spatial=0.1)
    taps = [IntegerTap(f"tap{at}", random_parameters(block, at), scales) for at, block in enumerate(TAPS)]
    Bundle({tap.name: tap for tap in taps}).save(tmp_path / "bundle")
    words = ["engine-image", str(tmp_path / "bundle"), "--device", "ecp5-85", "--clock", str(CLOCK)]
    assert main([*words, "--frames-per-second", str(RATE), "--folder", str(tmp_path / "image")]) == 0
    image = load_image(tmp_path / "image")
    assert image.engine in [option.engine for option in choice.options]
    assert list(image.taps) == ["tap0", "tap1"]
    assert "frames/s on ecp5-85 at 10 MHz" in capsys.readouterr().out
    assert main(words) == 2
    assert "--frames-per-second" in capsys.readouterr().err
    # A recipe's stages do not run for options that are of no use.
    for wrong, told in ((["--device", "ecp5"], "--device = 'ecp5'"), (["--clock", "9"], "--clock = 9.0")):
        monkeypatch.setattr("quietbar_cosim.commands.engine_image._source", None)
        assert main(["engine-image", "recipes/digits.toml", *wrong]) == 2
        assert told in capsys.readouterr().err
    monkeypatch.undo()
    engine = tmp_path / "engine.json"
    engine.write_text(json.dumps(image.engine.to_dict()))
    assert main([*words, "--frames-per-second", "5", "--engine", str(engine)]) == 2
    assert "left out with --device" in capsys.readouterr().err
