"""Energy, latency and area estimates against calculations by hand."""

import json
import math
from pathlib import Path

import pytest
import torch
from torch import nn

from quietbar import analog
from quietbar.analog import Converter, Interface
from quietbar.cli import main
from quietbar.contract.errors import ConfigurationError
from quietbar.estimates import ASSUMPTIONS, CONSTANTS, Hardware, LayerShape, estimate, layer_shapes, layer_work
from quietbar.models import create
from quietbar.noise import Chip

ROOT = Path(__file__).parents[2]
EIGHT = Interface(Converter(8), Converter(8))
ROUND = Hardware(
    tile_rows=64,
    tile_columns=32,
    columns_per_adc=16,
    adc_energy=2.0,
    dac_energy=0.5,
    cell_energy=0.001,
    hold_energy=0.25,
    add_energy=0.125,
    read_time=10.0,
    adc_time=3.0,
    adc_area=1000.0,
    dac_area=10.0,
    cell_area=1.0,
    hold_area=2.0,
    add_area=50.0,
)


def test_the_constants_add_up_to_the_power_that_isaac_prints():
    """In-situ multiply-accumulate unit: ADC 16 mW, DAC 4 mW, arrays 2.4 mW, sample-and-hold 10 uW (Table I)."""
    matrix = LayerShape("matrix", channels=128, places=1, columns=128, groups=1, positions=1)
    one_bit = Interface(Converter(2), Converter(8), slice_bits=1)
    hardware = Hardware(columns_per_weight=1)
    work = layer_work(matrix, one_bit, hardware)
    assert (work.arrays, work.cells, work.adcs, work.dacs) == (1, 128 * 128, 1, 128)
    assert (work.readings, work.conversions) == (2, 256)
    found = estimate(nn.Linear(128, 128), (128,), hardware, one_bit).layers[0]
    assert found.latency == 200, "two bits, 100 ns each: 128 conversions at 1.28 GS/s fit"
    # Eight such arrays for 200 ns:
    assert 8 * found.energy["ADC"] / 200 == pytest.approx(16 + 0.01, rel=1e-9)
    assert 8 * found.energy["DAC"] / 200 == pytest.approx(4, rel=1e-9)
    assert 8 * found.energy["array"] / 200 == pytest.approx(2.4, rel=1e-9)


def test_a_convolution_by_hand():
    # 20 channels x 9 places on arrays of 64 rows: 7 channels an array, 3 arrays high. 24 pairs of columns, 16 pairs an
    # array: 2 arrays wide.
    layer = nn.Conv2d(20, 24, 3, padding=1)
    found = estimate(layer, (20, 5, 4), ROUND, EIGHT).layers[0]
    work = found.work
    assert (work.row_tiles, work.column_tiles, work.arrays, work.cells) == (3, 2, 6, 180 * 48)
    assert found.shape.positions == 20 and found.shape.macs == 20 * 180 * 24
    assert (work.readings, work.conversions, work.additions) == (20, 20 * 3 * 24, 20 * 24 * 2)
    # 12 pairs in each array are 24 columns: 2 ADCs an array, each for 8 pairs in turn, 24 ns; 8 bits take 80 ns.
    assert (work.adcs, work.conversions_in_turn) == (12, 8)
    assert found.energy == {
        "DAC": 180 * 2 * 20 * 8 * 0.5,
        "array": pytest.approx(180 * 48 * 20 * 8 * 0.001),
        "ADC": 20 * 72 * 2.25,
        "accumulate": 20 * 48 * 0.125,
    }
    assert found.latency == 20 * 80
    assert found.area == 180 * 48 + 12 * 1000 + 360 * 10 + 72 * 2 + 12 * 50


def test_slices_of_inputs_and_weights_by_hand():
    layer = nn.Linear(64, 8)
    hardware = Hardware.from_dict({**ROUND.to_dict(), "weight_slices": 4, "adc_time": 20.0})
    interface = Interface(Converter(8), Converter(6), slice_bits=3)
    found = estimate(layer, (64,), hardware, interface).layers[0]
    work = found.work
    assert (work.row_tiles, work.column_tiles, work.slices, work.readings) == (1, 2, 3, 3)
    assert work.conversions == 3 * 32 and work.additions == 3 * 32 - 8
    assert found.energy["ADC"] == pytest.approx(96 * (2.0 / 4 + 0.25)), "two bits less are a quarter"
    assert found.energy["DAC"] == 64 * 2 * 8 * 0.5
    assert found.latency == 3 * max(3 * 10, 8 * 20)


def test_groups_have_arrays_of_their_own():
    depthwise = estimate(nn.Conv2d(8, 8, 3, groups=8), (8, 3, 3), ROUND, EIGHT).layers[0]
    assert depthwise.work.arrays == 8 and depthwise.work.cells == 8 * 9 * 2
    assert depthwise.shape.macs == 72


def test_signed_inputs_leave_their_sign_out_of_the_slices():
    shape = LayerShape("layer", 4, 1, 4, 1, 1)
    signed = Interface(Converter(8), Converter(8), dac_sign="signed", slice_bits=1)
    assert layer_work(shape, signed, Hardware()).slices == 7
    assert layer_work(shape, Interface(Converter(8), slice_bits=1), Hardware()).slices == 8


def test_a_network_is_the_sum_of_its_layers():
    found = estimate(create("resnet20"), (3, 32, 32), Hardware(), EIGHT)
    assert len(found.layers) == 20 and found.macs == 40_551_040
    assert found.energy == pytest.approx(sum(sum(layer.energy.values()) for layer in found.layers))
    assert found.latency == sum(layer.latency for layer in found.layers)
    assert found.interval == max(layer.latency for layer in found.layers)
    assert found.digital_energy == pytest.approx(40_551_040 * 0.23)
    plain = json.loads(json.dumps(found.to_dict()))
    assert plain["energy_pJ"] == found.energy and plain["assumptions"] == list(ASSUMPTIONS)


def test_only_the_analog_layers_of_a_converted_network_count_each_with_its_interface():
    model = analog.convert(create("digits"), Chip(1), exclude="linear")
    analog.set_interface(model, EIGHT)
    analog.set_interface(model, Interface(Converter(8), Converter(8), slice_bits=1), include="stage1.*")
    found = estimate(model, (1, 8, 8))
    assert [layer.shape.name for layer in found.layers] == [f"stage{number}.conv" for number in (1, 2, 3, 4)]
    assert [layer.work.slices for layer in found.layers] == [8, 1, 1, 1]


def test_the_model_is_left_as_it_was():
    model = create("digits").train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    layer_shapes(model, (1, 8, 8))
    assert model.training and all(torch.equal(before[name], value) for name, value in model.state_dict().items())
    assert not any(module._forward_hooks for module in model.modules())


def test_every_constant_says_where_it_comes_from():
    for name, constant in CONSTANTS.items():
        assert constant.value > 0 and math.isfinite(constant.value)
        assert constant.unit == {"energy": "pJ", "time": "ns", "area": "um2"}[name.rpartition("_")[2]]
        assert constant.source and constant.derivation and constant.meaning
        assert getattr(Hardware(), name) == constant.value


class Twice(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(4, 4)

    def forward(self, x):
        return self.layer(self.layer(x))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        *(
            (
                lambda name=name: Hardware(**{name: -1.0}),
                f"hardware.{name} = -1.0: must be a finite number of at least 0",
            )
            for name in CONSTANTS
        ),
        *(
            (lambda name=name: Hardware(**{name: 0}), f"hardware.{name} = 0: must be an integer from 1 to 1048576")
            for name in ("tile_rows", "tile_columns", "columns_per_weight", "weight_slices", "columns_per_adc")
        ),
        (lambda: Hardware(tile_columns=1), "hardware.tile_columns = 1: must be an integer from 2"),
        (lambda: Hardware(adc_energy=math.nan), "hardware.adc_energy = nan: must be a finite number"),
        (lambda: Hardware.from_dict({"rows": 3}), "hardware.rows = 3: must be absent"),
        (lambda: estimate(nn.Linear(4, 4), (5,)), "estimate.shape = (5,): must be an input of the model"),
        (lambda: estimate(nn.BatchNorm2d(4), (4, 5)), "estimate.shape = (4, 5): must be an input of the model"),
        (lambda: estimate(nn.Linear(4, 4), "4"), "estimate.shape = '4': must be a tuple of sizes above 0"),
        (lambda: estimate(nn.ReLU(), (5,)), "estimate.model = 'ReLU': must be one with convolutions or linear layers"),
        (lambda: estimate(Twice(), (4,)), "estimate.model = 'layer': must be without layers that are used twice"),
        (
            lambda: estimate(nn.Conv2d(1, 1, 3), (1, 5, 5), Hardware(tile_rows=8)),
            "interface.tile_rows = 8: must be at least 9 for",
        ),
    ],
)
def test_bad_arguments_are_refused_by_name(call, message):
    with pytest.raises(ConfigurationError) as raised:
        call()
    assert message in str(raised.value)


def test_the_command_prints_the_table_with_its_assumptions_and_sources(capsys, tmp_path):
    path = tmp_path / "estimate.json"
    assert (
        main(["estimate", str(ROOT / "recipes/digits.toml"), "--rows", "64", "--slice-bits", "1", "--json", str(path)])
        == 0
    )
    printed = capsys.readouterr().out
    for text in ("stage1.conv", "Assumptions:", *ASSUMPTIONS, "ISAAC", "Horowitz"):
        assert text in printed
    written = json.loads(path.read_text())
    assert written["hardware"]["tile_rows"] == 64 and written["layers"][0]["work"]["slices"] == 8
    (tmp_path / "hardware.toml").write_text("adc_energy = 3.0\ntile_rows = 32\n")
    assert main(["estimate", "resnet20", "--hardware", str(tmp_path / "hardware.toml"), "--json", str(path)]) == 0
    written = json.loads(path.read_text())
    assert (written["hardware"]["adc_energy"], written["hardware"]["tile_rows"]) == (3.0, 32)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["resnet21"], "estimate.network = 'resnet21': must be a recipe's .toml file or one of digits,"),
        (["missing.toml"], "recipe missing.toml: No such file"),
        (["resnet20", "--shape", "3,x"], "estimate.shape = '3,x': must be numbers above 0"),
        (["resnet20", "--shape", "1,32,32"], "estimate.shape = (1, 32, 32): must be an input of the model"),
        (["resnet20", "--rows", "4"], "interface.tile_rows = 4: must be at least 9 for conv1"),
        (["resnet20", "--dac-bits", "40"], "converter.bits = 40: must be an integer from 2 to 16"),
        (["resnet20", "--slice-bits", "9"], "interface.slice_bits = 9: must be an integer from 1 to 7"),
        (["resnet20", "--hardware", "missing.toml"], "hardware missing.toml: No such file"),
    ],
)
def test_mistakes_at_the_command_line_are_told_in_one_line(capsys, words, message):
    assert main(["estimate", *words]) == 2
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1
