"""IR drop in layers: their arrays one by one against the circuit solver, and what it does to results."""

import dataclasses
import importlib

import numpy as np
import pytest
import torch
from torch import nn

from quietbar import analog
from quietbar.analog import Converter, Interface, Wires, ir_drop
from quietbar.analog.programming import program, share
from quietbar.contract.errors import ConfigurationError
from quietbar.noise import Chip, Conductance, presets

WIRES = Wires(5.0, 8.0, driver=20.0, amplifier=10.0)
TILED = Interface(tile_rows=18, tile_columns=6, wires=WIRES)
RANGE = Conductance(g_max=40.0, g_min=2.0)


def converted(layer, conductance, interface=TILED, seed=3):
    return analog.convert(nn.Sequential(layer), Chip(seed, conductance=conductance), interface=interface)


def solved(cells, wires=WIRES):
    """Effective conductances of one array, in microsiemens, by nodal analysis; every resistance above 0."""
    rows = len(cells)
    row, column = (np.arange(cells.size).reshape(cells.shape) + base for base in (0, cells.size))
    matrix, driven = np.zeros((2 * cells.size,) * 2), np.zeros((2 * cells.size, rows))

    def connect(one, two, siemens):
        np.add.at(matrix, (one, one), siemens), np.add.at(matrix, (two, two), siemens)
        np.add.at(matrix, (one, two), -siemens), np.add.at(matrix, (two, one), -siemens)

    connect(row[:, :-1].ravel(), row[:, 1:].ravel(), 1 / wires.row)
    connect(column[:-1].ravel(), column[1:].ravel(), 1 / wires.column)
    connect(row.ravel(), column.ravel(), cells.ravel() * 1e-6)
    source, ground = 1 / (wires.driver + wires.row), 1 / (wires.column + wires.amplifier)
    matrix[row[:, 0], row[:, 0]] += source
    driven[row[:, 0], np.arange(rows)] = source
    matrix[column[-1], column[-1]] += ground
    return np.linalg.solve(matrix, driven)[column[-1]].T * ground * 1e6


def test_a_differential_layer_is_its_arrays_one_by_one():
    """12 columns of pairs in arrays of 3 pairs, 20 inputs in arrays of 10 rows, all by hand."""
    torch.manual_seed(0)
    layer = nn.Linear(20, 12).double()
    weight, largest = layer.weight.detach().numpy().T, float(layer.weight.detach().abs().max())
    cells = [2 + 38 * np.maximum(sign * weight, 0) / largest for sign in (1, -1)]
    expected = np.zeros_like(weight)
    for rows in (slice(0, 10), slice(10, 20)):
        for first in range(0, 12, 3):
            side_by_side = np.stack([part[rows, first : first + 3] for part in cells], axis=-1).reshape(10, 6)
            found = solved(side_by_side).reshape(10, 3, 2)
            expected[rows, first : first + 3] = (found[..., 0] - found[..., 1]) * largest / 38
    x = torch.randn(5, 20, dtype=torch.float64)
    result = converted(layer, RANGE)(x).detach().numpy()
    assert np.allclose(result, x.numpy() @ expected + layer.bias.detach().numpy(), rtol=1e-9, atol=1e-12)
    assert not np.allclose(result, layer(x).detach().numpy(), rtol=1e-3)


def test_groups_of_a_convolution_with_reference_columns_are_arrays_of_their_own():
    """2 groups of 3 columns and their reference column at the right, 2 channels of 9 places on top of each other."""
    torch.manual_seed(0)
    layer = nn.Conv2d(8, 6, 3, groups=2, bias=False).double()
    weight = layer.weight.detach().reshape(6, -1).numpy().T
    largest = float(np.abs(weight).max())
    cells, expected = 2 + 38 * (weight / largest + 1) / 2, np.zeros_like(weight)
    for group in (slice(0, 3), slice(3, 6)):
        for rows in (slice(0, 18), slice(18, 36)):
            found = solved(np.column_stack((cells[rows, group], np.full(18, 21.0))))
            expected[rows, group] = (found[:, :3] - found[:, 3:]) * 2 * largest / 38
    x = torch.randn(2, 8, 5, 5, dtype=torch.float64)
    given = torch.from_numpy(expected.T.copy()).reshape(layer.weight.shape)
    result = converted(layer, dataclasses.replace(RANGE, mapping="offset"))(x)
    assert torch.allclose(result, nn.functional.conv2d(x, given, groups=2), rtol=1e-9, atol=1e-12)


def test_slices_of_a_weight_lie_side_by_side():
    shape = (2, 4, 5, 2)
    columns = [
        [(int(n), int(c)) for n, c in zip(number[0], column[0], strict=True)]
        for number, _, column in ir_drop.arrays(shape, 5, 1, [(0, 4)], 8)
    ]
    assert columns == [
        [(0, 0), (1, 0), (0, 1), (1, 1)],
        [(0, 2), (1, 2), (0, 3)],
        [(1, 3), (0, 4), (1, 4)],
    ]


@pytest.mark.parametrize("mapping", ["differential", "offset"])
@pytest.mark.parametrize("tile_columns", [2, 5, 64])
def test_every_device_is_in_one_array(mapping, tile_columns):
    sides, width = (2, 12) if mapping == "differential" else (1, 15)
    seen = torch.zeros(2, 30, width, sides, dtype=torch.int64)
    for cells in ir_drop.arrays(seen.shape, 12, 3, [(0, 13), (13, 30)], tile_columns):
        assert seen[cells].shape[1] * sides <= tile_columns
        seen[cells] += 1
    assert torch.equal(seen, torch.ones_like(seen))


def test_ideal_wires_and_a_quiet_model_change_nothing():
    torch.manual_seed(0)
    layer, x = nn.Linear(20, 12), torch.randn(5, 20)
    ideal = Interface(tile_rows=18, tile_columns=6)
    assert torch.equal(converted(layer, presets.pcm, ideal)(x), converted(layer, presets.pcm, Interface())(x))
    with analog.quiet(converted(layer, presets.pcm)) as model:
        assert torch.equal(model(x), layer(x))


def test_it_is_solved_once_for_each_programmed_array(monkeypatch):
    calls = []
    layers = importlib.import_module("quietbar.analog.layers")  # a function has the module's name
    monkeypatch.setattr(layers, "wired", lambda *arguments: calls.append(1) or ir_drop.wired(*arguments))
    model, x = converted(nn.Linear(20, 12), RANGE), torch.randn(5, 20)
    for _ in range(3):
        model(x)
    assert len(calls) == 1
    with torch.no_grad():
        model[0].weight.mul_(2)
    model(x)
    assert len(calls) == 2


def test_read_noise_falls_with_the_effective_conductance():
    """Against the derivatives of the circuit with one row driven, to 40 % of the largest drop."""
    torch.manual_seed(0)
    conductances = torch.rand(1, 12, 5, 2, dtype=torch.float64) * 20
    conductances[0, 3, 2] = 0  # an open pair has no current to tell its share by

    def transform(cells, wires=Wires(2.0, 2.0)):  # noqa: B008 - it is frozen
        return ir_drop.wired(cells, 5, 1, [(0, 12)], 10, wires)

    found = share(transform, conductances)
    exact = torch.zeros_like(found)
    step = 1e-3
    for place in np.ndindex(*conductances.shape):
        changed = conductances.clone()
        changed[place] += step
        column = (slice(None), slice(None), place[2], place[3])
        one_row = torch.zeros(12, dtype=torch.float64)
        one_row[place[1]] = 1
        before, after = (one_row @ transform(each)[column][0] for each in (conductances, changed))
        exact[place] = (after - before) / step
    assert float((1 - exact).max()) > 0.002, "there is a drop"
    assert bool((found < 1).all())
    assert float((found - exact).abs().max()) < 0.4 * float((1 - exact).max())


def test_wired_pcm_has_less_read_noise():
    torch.manual_seed(0)
    weight = torch.randn(16, 64, dtype=torch.float64)
    interface = Interface(tile_rows=64, tile_columns=32, wires=Wires(10.0, 10.0))
    chip = Chip(1, conductance=presets.pcm)
    plain, _, _ = program(weight, chip, "layer")
    layer = converted(nn.Linear(64, 16, bias=False), presets.pcm, interface)[0]
    wired, _, _ = program(weight, chip, "layer", 1, layer.wiring())
    assert float(wired.weight.abs().sum()) < float(plain.weight.abs().sum())
    assert bool((wired.read_variance <= plain.read_variance).all())


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Interface(wires=1.0), "interface.wires = 1.0: must be a quietbar.analog.Wires"),
        (lambda: Interface(wires=WIRES, tile_rows=8), "interface.tile_columns = None: must be given with wires"),
        (lambda: Interface(wires=WIRES, tile_columns=8), "interface.tile_rows = None: must be given with wires"),
        (lambda: Interface.from_dict({"wires": {"row": -1}}), "wires.row = -1"),
        (lambda: Interface.from_dict({"wires": {"rows": 1}}), "interface.wires.rows = 1: must be absent (did you mean"),
        (lambda: converted(nn.Linear(4, 4), None), "must be Wires() without a conductance: give the chip one"),
        (lambda: converted(nn.Linear(4, 4), presets.generic), "must be Wires() with the signed mapping"),
        (
            lambda: converted(nn.Linear(4, 4), RANGE, dataclasses.replace(TILED, tile_columns=1)),
            "0.interface.tile_columns = 1: must be an integer from 2 to 1048576",
        ),
        (
            lambda: analog.set_conductance(converted(nn.Linear(4, 4), RANGE), None),
            "0.interface.wires = Wires(row=5.0, column=8.0",
        ),
    ],
)
def test_bad_wires_are_refused_by_name(make, message):
    with pytest.raises(ConfigurationError) as raised:
        make()
    assert message in str(raised.value)


def test_an_interface_with_wires_comes_back_from_a_table():
    interface = dataclasses.replace(TILED, dac=Converter(8))
    assert Interface.from_dict(interface.to_dict()) == interface


@pytest.mark.parametrize(
    "fault",
    [
        lambda cells: tuple(part.flip(-1) if part.shape[0] == 1 else part for part in cells),
        lambda cells: (cells[0], cells[1].flip(0), cells[2]),
    ],
    ids=["columns turned round", "rows turned round"],
)
def test_the_comparison_catches_a_planted_fault(monkeypatch, fault):
    sound = ir_drop.arrays
    monkeypatch.setattr(ir_drop, "arrays", lambda *arguments: map(fault, sound(*arguments)))
    with pytest.raises(AssertionError):
        test_a_differential_layer_is_its_arrays_one_by_one()
