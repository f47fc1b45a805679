"""IR drop against a circuit solver that is written another way, and against closed forms."""

import math
from fractions import Fraction

import numpy as np
import pytest
import scipy.sparse
import scipy.sparse.linalg
from hypothesis import given, settings
from hypothesis import strategies as st

from quietbar.analog import Wires, effective_conductances
from quietbar.analog import wires as module
from quietbar.contract.errors import ConfigurationError

LIMIT = 1e-9


def nodal_currents(cells, wires, voltages):
    """Amplifier currents, in microamperes, by nodal analysis: one equation a node, resistor by resistor.

    Args:
        cells: microsiemens, (rows, columns).
        wires: the resistances; 0 joins two nodes to one.
        voltages: (rows, cases).
    """
    rows, columns = cells.shape
    parent = {}

    def find(node):
        while parent.get(node, node) != node:
            node = parent[node]
        return node

    resistors = []

    def connect(one, two, resistance):
        if resistance == 0:
            one, two = find(one), find(two)
            # The ends whose voltage is known keep their names.
            if isinstance(one[0], str) and one[0] in ("source", "ground"):
                one, two = two, one
            if one != two:
                parent[one] = two
        else:
            resistors.append((one, two, 1 / resistance))

    for i in range(rows):
        connect(("source", i, 0), ("row", i, 0), wires.driver + wires.row)
        for j in range(columns - 1):
            connect(("row", i, j), ("row", i, j + 1), wires.row)
        if wires.two_sided:
            connect(("source", i, 0), ("row", i, columns - 1), wires.driver + wires.row)
        for j in range(columns):
            if cells[i, j]:
                resistors.append((("row", i, j), ("column", i, j), cells[i, j] * 1e-6))
    for j in range(columns):
        for i in range(rows - 1):
            connect(("column", i, j), ("column", i + 1, j), wires.column)
        connect(("column", rows - 1, j), ("ground", 0, j), wires.column + wires.amplifier)

    numbers, places, values = {}, [], []
    right, out = {}, []
    for one, two, conductance in resistors:
        for here, there in ((find(one), find(two)), (find(two), find(one))):
            if here[0] == "ground":
                out.append((here[2], there, conductance))
                continue
            if here[0] == "source":
                continue
            here = numbers.setdefault(here, len(numbers))
            places.append((here, here)), values.append(conductance)
            if there[0] == "source":
                right.setdefault(here, []).append((there[1], conductance))
            elif there[0] != "ground":
                places.append((here, numbers.setdefault(there, len(numbers)))), values.append(-conductance)
    known = np.zeros((len(numbers), voltages.shape[1]))
    for node, sources in right.items():
        for i, conductance in sources:
            known[node] += conductance * voltages[i]
    solved = known
    if numbers:
        matrix = scipy.sparse.coo_array((values, np.array(places).T), shape=(len(numbers),) * 2).tocsc()
        if len(numbers) <= 1000:
            solved = np.linalg.solve(matrix.toarray(), known)
        else:
            solved = scipy.sparse.linalg.splu(matrix).solve(known)
    currents = np.zeros((columns, voltages.shape[1]))
    for j, node, conductance in out:
        voltage = voltages[node[1]] if node[0] == "source" else solved[numbers[node]]
        currents[j] += conductance * voltage * 1e6
    return currents


def random_cells(rows, columns, seed=0):
    return np.exp(np.random.default_rng(seed).uniform(np.log(0.1), np.log(100), (rows, columns)))


def difference(cells, wires, cases=None, seed=1):
    """Largest relative difference from the circuit solver: of the effective conductances, or of currents."""
    rows = cells.shape[0]
    if cases is None:
        voltages = np.eye(rows)
        expected, found = nodal_currents(cells, wires, voltages).T, effective_conductances(cells, wires)
    else:
        voltages = np.random.default_rng(seed).uniform(0.1, 1, (rows, cases))
        expected = nodal_currents(cells, wires, voltages)
        found = effective_conductances(cells, wires).T @ voltages
    is_open = expected == 0
    assert np.all(found[is_open] == 0)
    return float(np.max(np.abs(found[~is_open] / expected[~is_open] - 1)))


@pytest.mark.parametrize(
    "wires",
    [
        Wires(1.0, 1.0),
        Wires(0.01, 0.01),
        Wires(20.0, 5.0, driver=100.0, amplifier=50.0),
        Wires(2.0, 0.0),
        Wires(0.0, 2.0),
        Wires(0.0, 0.0, driver=100.0),
        Wires(0.0, 0.0, amplifier=100.0),
        Wires(1.0, 3.0, driver=10.0, two_sided=True),
        Wires(1.0, 0.0, two_sided=True),
        Wires(0.0, 1.0, two_sided=True),
    ],
    ids=str,
)
@pytest.mark.parametrize("shape", [(8, 8), (16, 5), (5, 16), (1, 7), (7, 1), (1, 1)])
def test_every_effective_conductance_is_the_circuits(shape, wires):
    assert difference(random_cells(*shape), wires) < LIMIT


@pytest.mark.parametrize("resistance", [0.01, 1.0, 30.0])
@pytest.mark.parametrize("shape", [(32, 32), (64, 64), (128, 128), (128, 40), (40, 128)])
def test_currents_of_larger_arrays_are_the_circuits(shape, resistance):
    cells = random_cells(*shape, seed=2)
    assert difference(cells, Wires(resistance, resistance / 2, driver=5.0), cases=3) < LIMIT


@pytest.mark.parametrize("shape", [(64, 64), (128, 128)])
@pytest.mark.parametrize("wires", [Wires(0.1, 0.1), Wires(2.0, 1.0, driver=50.0, amplifier=20.0)], ids=str)
def test_every_effective_conductance_of_larger_arrays_with_extreme_corners(shape, wires):
    cells = random_cells(*shape, seed=3)
    cells[0, 0], cells[0, -1], cells[-1, 0], cells[-1, -1] = 0.0, 1e4, 1e4, 0.0
    assert difference(cells, wires) < LIMIT


@pytest.mark.parametrize("two_sided", [False, True])
@pytest.mark.parametrize(
    "cells",
    [
        np.where(np.random.default_rng(5).random((12, 10)) < 0.5, 0.0, 20.0),
        np.where(np.random.default_rng(6).random((12, 10)) < 0.1, 1e6, 1.0),
        np.pad(np.full((10, 8), 10.0), 1),
        np.pad(np.full((10, 8), 0.0), 1, constant_values=1e4),
        np.full((12, 10), 1e-6),
        np.full((12, 10), 1e6),
    ],
    ids=["open", "shorted", "edges open", "edges only", "nearly nothing", "all shorted"],
)
def test_open_and_shorted_cells(cells, two_sided):
    for resistance in (1e-3, 1.0, 1e3):
        wires = Wires(resistance, resistance, driver=1.0, two_sided=two_sided)
        assert difference(cells, wires) < LIMIT


@settings(max_examples=40, deadline=None)
@given(
    st.integers(1, 6),
    st.integers(1, 6),
    st.builds(Wires, *[st.one_of(st.just(0.0), st.floats(0.1, 1e3))] * 4, two_sided=st.booleans()),
    st.integers(0, 100),
)
def test_any_small_array(rows, columns, wires, seed):
    """Nodal analysis of conductances that are farther apart loses digits itself; the next test goes on there."""
    assert difference(random_cells(rows, columns, seed), wires) < LIMIT


@pytest.mark.parametrize("amplifier", [0.0, 6768.0, 1e7])
@pytest.mark.parametrize("column", [1e-6, 0.002, 1e3])
def test_two_cells_of_a_column_in_exact_arithmetic(column, amplifier):
    cells, wires = random_cells(2, 1), Wires(1.0, column, amplifier=amplifier)
    upper, lower = (1 / (1 + 1_000_000 / Fraction(float(cell))) for cell in cells[:, 0])
    below, above = 1 / (Fraction(column) + Fraction(amplifier)), 1 / Fraction(column)
    determinant = (upper + above) * (lower + above + below) - above**2
    expected = [above * upper * below / determinant, (upper + above) * lower * below / determinant]
    for found, exact in zip(effective_conductances(cells, wires)[:, 0], expected, strict=True):
        assert abs(Fraction(float(found)) / (exact * 1_000_000) - 1) < 1e-14


def test_a_single_cell_is_a_series_of_resistors():
    wires = Wires(1.0, 2.0, 30.0, 400.0)
    expected = 1 / (1 / 50e-6 + 1 + 2 + 30 + 400) * 1e6
    assert effective_conductances([[50.0]], wires)[0, 0] == pytest.approx(expected, rel=1e-14)


def test_without_resistance_nothing_changes_and_with_little_almost_nothing():
    cells = random_cells(30, 20)
    assert np.array_equal(effective_conductances(cells, Wires()), cells)
    errors = []
    for resistance in (1e-2, 1e-4, 1e-6):
        found = effective_conductances(cells, Wires(resistance, resistance, resistance, resistance))
        errors.append(np.max(np.abs(found / cells - 1)))
    assert errors[0] < 1e-2 and errors[1] / errors[0] == pytest.approx(1e-2, rel=1e-2)
    assert errors[2] / errors[1] == pytest.approx(1e-2, rel=1e-2), "the drop is linear in a small resistance"


def test_both_ways_to_solve_agree():
    cells, wires = random_cells(20, 30), Wires(3.0, 2.0, 10.0, 20.0)
    direct = module._solve(cells * 1e-6, wires) * 1e6
    assert np.max(np.abs(effective_conductances(cells, wires) / direct - 1)) < 1e-12


def test_currents_fall_with_the_distance_and_never_rise():
    cells = np.full((40, 40), 20.0)
    found = effective_conductances(cells, Wires(2.0, 2.0))
    assert np.all(found <= cells) and np.all(found > 0)
    assert np.all(np.diff(found, axis=1) < 0), "farther from the drivers"
    assert np.all(np.diff(found, axis=0) > 0), "nearer to the amplifiers"
    two = effective_conductances(cells, Wires(2.0, 2.0, two_sided=True))
    assert np.all(two >= found) and np.allclose(two, two[:, ::-1])


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: Wires(-1), "wires.row = -1: must be a finite number of ohms of at least 0"),
        (lambda: Wires(column=math.nan), "wires.column = nan: must be a finite number of ohms of at least 0"),
        (lambda: Wires(driver=math.inf), "wires.driver = inf: must be a finite number of ohms of at least 0"),
        (lambda: Wires(amplifier="1"), "wires.amplifier = '1': must be a finite number of ohms of at least 0"),
        (lambda: Wires(row=True), "wires.row = True: must be a finite number of ohms of at least 0"),
        (lambda: Wires(two_sided=1), "wires.two_sided = 1: must be True or False"),
        (lambda: effective_conductances([[1.0]], 1.0), "wires = 1.0: must be a quietbar.analog.Wires"),
        (lambda: effective_conductances([1.0], Wires(1)), "conductances.shape = (1,): must be (rows, columns)"),
        (lambda: effective_conductances(np.ones((0, 3)), Wires(1)), "conductances.shape = (0, 3): must be (rows"),
        (lambda: effective_conductances([[1.0, -2.0]], Wires(1)), "conductances = -2.0: must be finite and at least 0"),
        (lambda: effective_conductances([[math.inf]], Wires(1)), "conductances = inf: must be finite and at least 0"),
        (lambda: effective_conductances([[math.nan]], Wires()), "conductances = nan: must be finite and at least 0"),
        (lambda: effective_conductances([["a"]], Wires()), "conductances = [['a']]: must be numbers"),
        (lambda: effective_conductances([[1.0], [1.0, 2.0]], Wires()), "must be numbers"),
    ],
)
def test_bad_arguments_are_refused_by_name(call, message):
    with pytest.raises(ConfigurationError) as raised:
        call()
    assert message in str(raised.value)


@pytest.mark.parametrize(
    "fault",
    [
        lambda shared: lambda columns, wires: shared(columns, wires) + wires.row,
        lambda shared: lambda columns, wires: shared(columns, wires)[::-1, ::-1],
        lambda shared: lambda columns, wires: np.diag(np.diag(shared(columns, wires))),
    ],
    ids=["one segment more", "drivers on the right", "paths that share nothing"],
)
def test_the_comparison_catches_a_planted_fault(monkeypatch, fault):
    monkeypatch.setattr(module, "_shared_resistance", fault(module._shared_resistance))
    assert difference(random_cells(8, 8), Wires(0.01, 0.01)) > 100 * LIMIT
