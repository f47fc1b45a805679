"""The configuration of conductances: every field refused by name, round trips, presets."""

import dataclasses
import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quietbar.configuration import from_mapping, to_mapping
from quietbar.contract.errors import ConfigurationError
from quietbar.noise import (
    Chip,
    Conductance,
    Drift,
    Faults,
    LogLevel,
    Programming,
    ReadNoise,
    Retention,
    Variation,
    presets,
)

BAD = [
    (Programming, {"polynomial": 0.5}, "programming.polynomial = 0.5: must be a list of numbers"),
    (Programming, {"polynomial": (0.5, math.nan)}, "programming.polynomial[1] = nan: must be a finite number"),
    (Programming, {"valid": (3.0, 1.0)}, "programming.valid = (3.0, 1.0): must be two conductances, 0 <= lowest"),
    (Programming, {"valid": (1.0,)}, "programming.valid = (1.0,): must be two conductances"),
    (LogLevel, {"slope": math.inf}, "drift.slope = inf: must be a number from"),
    (LogLevel, {"constant": "a"}, "drift.constant = 'a': must be a number from"),
    (LogLevel, {"low": -0.1}, "drift.low = -0.1: must be a number from 0 to 10"),
    (LogLevel, {"low": 0.5, "high": 0.4}, "drift.high = 0.4: must be a number from 0.5 to 10 (from drift.low)"),
    (Drift, {"mean": 0.05}, "drift.mean = 0.05: must be a LogLevel"),
    (Drift, {"deviation": 0.05}, "drift.deviation = 0.05: must be a LogLevel"),
    (ReadNoise, {"coefficient": -1}, "read.coefficient = -1: must be a finite number of at least 0"),
    (ReadNoise, {"exponent": math.nan}, "read.exponent = nan: must be a finite number of at least 0"),
    (ReadNoise, {"limit": -0.1}, "read.limit = -0.1: must be a finite number of at least 0"),
    (ReadNoise, {"t_read": 0.0}, "read.t_read = 0.0: must be a number from 1e-15 to 1"),
    (ReadNoise, {"additive": True}, "read.additive = True: must be a finite number of at least 0"),
    (ReadNoise, {"redraw": "never"}, "read.redraw = 'never': must be one of 'reading', 'time'"),
    (
        Retention,
        {"times": (2.0, 1.0), "polynomials": ((), ())},
        "retention.times = (2.0, 1.0): must be above 0 and asc",
    ),
    (Retention, {"times": (0.0,), "polynomials": ((),)}, "retention.times = (0.0,): must be above 0 and ascending"),
    (Retention, {"times": 1.0}, "retention.times = 1.0: must be a list of numbers"),
    (Retention, {"times": (1.0,)}, "retention.polynomials = '0 polynomials': must be 1 polynomials, one for each of"),
    (Retention, {"times": (1.0,), "polynomials": (("a",),)}, "retention.polynomials[0][0] = 'a': must be a finite"),
    (Retention, {"spread": "both"}, "retention.spread = 'both': must be one of 'added', 'total'"),
    (Retention, {"shift": math.nan}, "retention.shift = nan: must be a number from"),
    (Faults, {"at_min": 1.1}, "faults.at_min = 1.1: must be a number from 0 to 1"),
    (Faults, {"at_max": -0.1}, "faults.at_max = -0.1: must be a number from 0 to 1"),
    (Faults, {"at_min": 0.6, "at_max": 0.5}, "faults.at_max = 0.5: must be at most 1 - faults.at_min (0.6)"),
    (
        Conductance,
        {"mapping": "pair"},
        "conductance.mapping = 'pair': must be one of 'differential', 'offset', 'signed'",
    ),
    (Conductance, {"g_max": 0.0}, "conductance.g_max = 0.0: must be a number from 1e-06"),
    (Conductance, {"g_min": -1}, "conductance.g_min = -1: must be a finite number of at least 0"),
    (Conductance, {"g_min": 25.0}, "conductance.g_min = 25.0: must be below conductance.g_max (25)"),
    (Conductance, {"g_min": 1.0, "mapping": "signed"}, "conductance.g_min = 1.0: must be 0 with the signed mapping"),
    (Conductance, {"levels": 1}, "conductance.levels = 1: must be an integer from 2 to 65536"),
    (Conductance, {"levels": 2.0}, "conductance.levels = 2.0: must be an integer from 2 to 65536"),
    (
        Conductance,
        {"levels": 2, "mapping": "offset"},
        "conductance.levels = 2: must be at least 3 with the offset mapping",
    ),
    (Conductance, {"slices": 0}, "conductance.slices = 0: must be an integer from 1 to 16"),
    (Conductance, {"slices": 2}, "conductance.levels = None: must be given where conductance.slices is above 1"),
    (Conductance, {"slices": 16, "levels": 16}, "conductance.slices = 16: must be at most 12 with 16 levels"),
    (Conductance, {"scale": "row"}, "conductance.scale = 'row': must be one of 'layer', 'column'"),
    (Conductance, {"programming": (0.1,)}, "conductance.programming = (0.1,): must be a Programming"),
    (Conductance, {"drift": 0.05}, "conductance.drift = 0.05: must be a Drift"),
    (Conductance, {"read": None}, "conductance.read = None: must be a ReadNoise"),
    (Conductance, {"retention": 1}, "conductance.retention = 1: must be a Retention"),
    (Conductance, {"faults": 0.01}, "conductance.faults = 0.01: must be a Faults"),
    (
        Conductance,
        {"compensation": "row"},
        "conductance.compensation = 'row': must be one of 'none', 'global', 'column'",
    ),
    (Conductance, {"reference": -1}, "conductance.reference = -1: must be a finite number of at least 0"),
    (Conductance, {"t0": 0}, "conductance.t0 = 0: must be a finite number of at least 1e-09"),
    (Conductance, {"seconds": 5}, "conductance.seconds = 5: must be a finite number of at least 20 (conductance.t0)"),
    (
        Conductance,
        {"programming": Programming((1.0,), valid=(0.0, 20.0))},
        "conductance.g_max = 25.0: must be at most 20: conductance.programming was fitted up to there",
    ),
    (
        Conductance,
        {"programming": Programming((1.0,), valid=(5.0, 30.0))},
        "conductance.g_min = 0.0: must be at least 5: conductance.programming was fitted from there",
    ),
    (
        Conductance,
        {"retention": Retention((1.0, 30.0), ((), ())), "seconds": 40.0},
        "conductance.seconds = 40.0: must be at most 30, the last of conductance.retention.times",
    ),
    (
        Conductance,
        {"read": ReadNoise(coefficient=0.01, t_read=0.1), "t0": 0.01, "seconds": 1.0},
        "conductance.t0 = 0.01: must be at least read.t_read (0.1)",
    ),
    (Variation, {"sigma": -1}, "variation.sigma = -1: must be a finite number of at least 0"),
    (Variation, {"reference": "max"}, "variation.reference = 'max': must be one of 'std', 'range'"),
    (Variation, {"gain_mismatch": math.nan}, "variation.gain_mismatch = nan: must be a finite number of at least 0"),
    (Variation, {"offset_mismatch": "0"}, "variation.offset_mismatch = '0': must be a finite number of at least 0"),
    (Variation, {"nu": -0.1}, "variation.nu = -0.1: must be a finite number of at least 0"),
    (Variation, {"t0": 0}, "variation.t0 = 0: must be a finite number above 0"),
    (Variation, {"seconds": 1}, "variation.seconds = 1: must be a finite number of at least 20 (variation.t0)"),
    (Chip, {"seed": -1}, "chip.seed = -1: must be"),
    (Chip, {"seed": 1, "variation": "temporal"}, "chip.variation = 'temporal': must be a Variation"),
    (Variation, {"noise_growth": -1}, "variation.noise_growth = -1: must be a finite number of at least 0"),
    (Chip, {"seed": 1, "conductance": "pcm"}, "chip.conductance = 'pcm': must be None or a Conductance"),
]


@pytest.mark.parametrize(("kind", "fields", "message"), BAD)
def test_a_field_outside_its_range_is_refused_by_name(kind, fields, message):
    with pytest.raises(ConfigurationError) as raised:
        kind(**fields)
    assert message in str(raised.value)


def test_bad_values_of_every_field_were_tried():
    tried = {(kind, name) for kind, fields, _ in BAD for name in fields}
    kinds = (Programming, LogLevel, Drift, ReadNoise, Retention, Faults, Conductance, Variation, Chip)
    assert {(kind, field.name) for kind in kinds for field in dataclasses.fields(kind)} <= tried


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"gmax": 5.0}, "conductance.gmax = 5.0: must be absent (did you mean 'g_max'?)"),
        ({"read": {"colour": 1}}, "conductance.read.colour = 1: must be absent"),
        ({"drift": {"mean": {"slope": "x"}}}, "conductance.drift.mean.slope = 'x': must be a number"),
        ({"programming": {"polynomial": 1.0}}, "conductance.programming.polynomial = 1.0: must be a list"),
    ],
)
def test_bad_tables_are_refused_by_their_place(values, message):
    with pytest.raises(ConfigurationError) as raised:
        Conductance.from_dict(values)
    assert message in str(raised.value)


numbers = st.floats(0, 10)
polynomials = st.lists(st.floats(-10, 10), max_size=4).map(tuple)


@given(
    st.builds(
        Conductance,
        mapping=st.sampled_from(["differential", "offset"]),
        g_max=st.floats(1, 100),
        g_min=st.floats(0, 0.9),
        levels=st.one_of(st.integers(3, 64)),
        slices=st.integers(1, 8),
        scale=st.sampled_from(["layer", "column"]),
        programming=st.builds(Programming, polynomials, st.sampled_from([None, (0.0, 100.0)])),
        drift=st.builds(Drift.constant, numbers, numbers),
        read=st.builds(ReadNoise, numbers, numbers, numbers, st.floats(1e-9, 1e-3), numbers),
        retention=st.sampled_from([presets.rram_wan.retention, presets.rram_cmo.retention, Retention()]),
        faults=st.builds(Faults, st.floats(0, 0.5), st.floats(0, 0.5)),
        compensation=st.sampled_from(["none", "global", "column"]),
        seconds=st.floats(20, 1e5),
    )
)
def test_json_gives_back_the_same_conductance(conductance):
    assert Conductance.from_dict(json.loads(json.dumps(conductance.to_dict()))) == conductance
    chip = Chip(3, Variation(sigma=0.1), conductance)
    assert Chip.from_dict(json.loads(json.dumps(chip.to_dict()))) == chip


def toml_of(mapping, prefix=""):
    """A few lines of TOML for nested mappings; JSON's scalars and lists are TOML's."""
    lines = [f"{name} = {json.dumps(value)}" for name, value in mapping.items() if not isinstance(value, dict)]
    for name, value in mapping.items():
        if isinstance(value, dict):
            lines += [f"[{prefix}{name}]", toml_of(value, f"{prefix}{name}.")]
    return "\n".join(lines)


@pytest.mark.parametrize("name", presets.CONDUCTANCES)
def test_presets_go_by_name_and_through_toml(name):
    import tomllib

    conductance = presets.conductance_by_name(name)
    assert conductance is getattr(presets, name)
    assert Conductance.from_dict(tomllib.loads(toml_of(conductance.to_dict()))) == conductance
    assert from_mapping(Conductance, to_mapping(conductance)) == conductance


def test_an_unknown_preset_is_refused():
    with pytest.raises(
        ConfigurationError, match="preset = 'flash': must be one of 'exact', 'pcm', 'pcm_columns', 'rram_milo'"
    ):
        presets.conductance_by_name("flash")
    with pytest.raises(ConfigurationError, match=r"presets.sigma = -1: must be a number from 0 to 100"):
        presets.of_largest_weight(-1)


def test_the_integer_contract_and_the_preset_have_one_polynomial():
    from quietbar.contract import crossbar, phase_change

    assert presets.pcm.programming.polynomial == phase_change.PROGRAMMING == (0.2635, 1.9650, -1.1731)
    assert presets.pcm.g_max == crossbar.FULL_SCALE_MICROSIEMENS
