# amaranth: UnusedElaboratable=no
"""The crossbar tile equals the integer reference, keeps its cycle count, and takes its configuration in good order."""

import json
from dataclasses import replace

import pytest
import torch

from quietbar.contract import BlockConfig, ConfigurationError, CrossbarConfig
from quietbar.contract.crossbar import READ_SIGMA
from quietbar.contract.stream import FrameKind, seed_frame
from quietbar.integer import crossbar
from quietbar_cosim.tile_bench import READING_SEED, Case, run, simulate
from quietbar_hw.crossbar.configuration import Error
from quietbar_hw.crossbar.folding import CrossbarFolding
from quietbar_hw.crossbar.mixed import MixedSignalLayer
from quietbar_hw.crossbar.tile import Crossbar
from quietbar_hw.crossbar.timing import cycles, interval
from quietbar_hw.crossbar.top import AxiCrossbar
from quietbar_hw.denoiser import Folding
from quietbar_hw.verilog import lint, write_verilog

BLOCK = BlockConfig(channels=8, hidden=2, height=4, width=4, signed=True)

MANY = CrossbarConfig(4, 3, dac_bits=2, slices=4, row_tiles=2, column_tiles=2, faults=True, drift=True, output="signed")
TILES = [
    (CrossbarConfig(6, 4), CrossbarFolding(2, 2, 2, 2)),
    (CrossbarConfig(6, 4), CrossbarFolding(6, 4, 1, 1)),
    (CrossbarConfig(6, 4), CrossbarFolding(1, 1, 6, 4)),
    (CrossbarConfig(1, 1), CrossbarFolding()),
    (CrossbarConfig(9, 5, dac_bits=3, adc_bits=5), CrossbarFolding(3, 5, 9, 1)),
    (CrossbarConfig(12, 3, dac_bits=1, adc_bits=2), CrossbarFolding(2, 3, 4, 3)),
    (CrossbarConfig(6, 4, noisy_programming=False), CrossbarFolding(3, 2, 3, 2)),
    (CrossbarConfig(2, 4, row_tiles=3), CrossbarFolding(2, 4, 1, 2)),
    (CrossbarConfig(6, 4, dac_bits=1, slices=8), CrossbarFolding(6, 1, 3, 4)),
    (CrossbarConfig(5, 1, dac_bits=3, slices=2, row_tiles=2), CrossbarFolding(1, 1, 5, 1)),
    (CrossbarConfig(6, 4, faults=True), CrossbarFolding(2, 2, 2, 2)),
    (CrossbarConfig(6, 4, drift=True), CrossbarFolding(2, 2, 2, 2)),
    (CrossbarConfig(6, 4, drift=True, faults=True, noisy_programming=False), CrossbarFolding(2, 2, 2, 2)),
    (CrossbarConfig(6, 4, output="unsigned"), CrossbarFolding(2, 2, 2, 2)),
    (MANY, CrossbarFolding(8, 6, 4, 6)),
    (MANY, CrossbarFolding(1, 2, 2, 3)),
]


@pytest.mark.parametrize("stall", [0.0, 0.5])
@pytest.mark.parametrize(("config", "folding"), TILES)
def test_codes_equal_the_reference(config, folding, stall):
    case = Case(config)
    expected = case.codes(case.x)
    codes, last = run(case, folding, stall)
    assert codes == expected
    assert last == [0] * (len(expected) - 1) + [1]


def test_extremes_of_every_operand_equal_the_reference():
    config = CrossbarConfig(4, 6)
    case = Case(config)
    weights = torch.tensor([[127, -127, 127, -127, 0, 1]]).repeat(4, 1)
    case.x = torch.tensor([[255] * 4, [0] * 4, [255, 0, 255, 0], [0, 0, 0, 1]])
    low, high = -(1 << 23), (1 << 23) - 1
    for gains, shifts in (((32768, 65535) * 3, (1, 47) * 3), ((65535, 32768) * 3, (33, 32) * 3)):
        converter = crossbar.Converter((low, high, 0, high, low, 0), gains, shifts, READ_SIGMA.high)
        case.tiles = replace(case.tiles, weights=weights, converter=converter)
        codes, _ = run(case, CrossbarFolding(2, 3, 2, 3))
        assert codes == case.codes(case.x)


@pytest.mark.parametrize(
    ("config", "folding"),
    [
        (CrossbarConfig(6, 4), CrossbarFolding(2, 2, 2, 2)),
        (CrossbarConfig(12, 2), CrossbarFolding(1, 1, 12, 2)),
        (CrossbarConfig(2, 12), CrossbarFolding(2, 4, 2, 12)),
        (CrossbarConfig(6, 4), CrossbarFolding(6, 4, 1, 1)),
        (CrossbarConfig(8, 8), CrossbarFolding(4, 8, 2, 4)),
        (CrossbarConfig(4, 6, row_tiles=3), CrossbarFolding(2, 3, 2, 2)),
        (CrossbarConfig(8, 2, row_tiles=2), CrossbarFolding(4, 1, 1, 2)),
        (CrossbarConfig(4, 3, dac_bits=2, slices=4, output="unsigned"), CrossbarFolding(4, 3, 2, 3)),
        (CrossbarConfig(4, 3, dac_bits=1, slices=3, row_tiles=2, output="signed"), CrossbarFolding(1, 1, 4, 1)),
        (CrossbarConfig(8, 4, output="signed"), CrossbarFolding(1, 1, 2, 2)),
    ],
)
def test_cycles_are_as_stated(config, folding):
    case = Case(config)

    async def bench(host, context):
        tile = host.tile
        await host.configure(*case.setup)
        await context.tick().repeat(60)
        context.set(tile.codes.ready, 1)
        codes = [{"code": code, "last": 0} for code in case.x.flatten().tolist()]
        beats = [codes[first : first + folding.input_lanes] for first in range(0, len(codes), folding.input_lanes)]
        ends, cycle, outputs = [], 0, 0
        while len(ends) < len(case.x):
            context.set(tile.inputs.valid, bool(beats))
            if beats:
                context.set(tile.inputs.payload, beats[0])
            if context.get(tile.inputs.valid & tile.inputs.ready):
                beats.pop(0)
            cycle += 1
            if context.get(tile.codes.valid):
                outputs += folding.output_lanes
                if outputs % config.outputs == 0:
                    ends.append(cycle)
            await context.tick()
        assert ends == [cycles(config, folding, vectors) for vectors in range(1, len(case.x) + 1)]
        assert ends[1] - ends[0] == interval(config, folding)

    simulate(Crossbar(config, folding), bench)


CONFIG = CrossbarConfig(3, 2)


def test_no_input_is_taken_before_all_is_loaded():
    case = Case(CONFIG)

    async def bench(host, context):
        for frame in case.setup:
            assert not await host.input([1], patience=20)
            await host.configure(frame)
        assert await host.input(case.x[0].tolist())
        assert await host.output(CONFIG.columns) == case.codes(case.x[:1])
        assert host.error == Error.NOT_CONFIGURED

    simulate(Crossbar(CONFIG, CrossbarFolding()), bench)


def test_programming_uses_up_its_seed():
    case = Case(CONFIG)

    async def bench(host, context):
        await host.configure(case.setup[0], case.setup[2], case.setup[1])
        assert not await host.input([1], patience=20)
        assert host.error == Error.NOT_CONFIGURED

    simulate(Crossbar(CONFIG, CrossbarFolding()), bench)


def test_noise_free_programming_leaves_the_seed_alone():
    config = CrossbarConfig(3, 2, noisy_programming=False)
    case = Case(config)

    async def bench(host, context):
        await host.configure(seed_frame(READING_SEED), case.setup[1], case.setup[0])
        assert await host.input(case.x[0].tolist())
        assert await host.output(config.columns) == case.codes(case.x[:1])

    simulate(Crossbar(config, CrossbarFolding()), bench)


def test_a_new_seed_counts_from_the_vectors_that_follow_it():
    case = Case(CONFIG)
    first, second = case.x[:2], case.x[2:4]

    async def bench(host, context):
        await host.configure(*case.setup)
        for vector in first.tolist():
            assert await host.input(vector)
        # The frame waits for both vectors, whose codes nobody has taken yet.
        await host.configure(seed_frame(77))
        for vector in second.tolist():
            assert await host.input(vector)
        assert await host.output(4 * CONFIG.columns) == case.codes(first) + case.codes(second, seed=77)
        assert not host.error

    simulate(Crossbar(CONFIG, CrossbarFolding()), bench)


def test_a_frame_between_two_halves_of_a_vector_counts_for_the_vector():
    case = Case(CONFIG)

    async def bench(host, context):
        await host.configure(*case.setup)
        assert await host.input(case.x[0, :2].tolist())
        await host.configure(seed_frame(77))
        assert await host.input(case.x[0, 2:].tolist())
        assert await host.output(CONFIG.columns) == case.codes(case.x[:1], seed=77)
        assert not host.error

    simulate(Crossbar(CONFIG, CrossbarFolding()), bench)


def test_a_tile_is_programmed_anew():
    case, other = Case(CONFIG), Case(CONFIG, seed=2)

    async def bench(host, context):
        await host.configure(*case.setup)
        assert await host.input(case.x[0].tolist())
        await host.configure(*other.setup)
        assert await host.input(other.x[0].tolist())
        assert await host.output(2 * CONFIG.columns) == case.codes(case.x[:1]) + other.codes(other.x[:1])
        assert not host.error

    simulate(Crossbar(CONFIG, CrossbarFolding()), bench)


GOOD = Case(CONFIG)
PROGRAM, CONVERTER = GOOD.setup[1:3]


def replaced(frame, place, word):
    return [*frame[:place], word & 0xFFFFFFFF, *frame[place + 1 :]]


@pytest.mark.parametrize(
    ("what", "error", "frames"),
    [
        ("a kind that a tile does not know", Error.CONFIGURATION_KIND, [[FrameKind.PARAMETERS, 1, 2, 3]]),
        ("a kind and nothing else", Error.CONFIGURATION_LENGTH, [[FrameKind.SEED]]),
        ("too few words", Error.CONFIGURATION_LENGTH, [CONVERTER[:-1]]),
        ("too many words", Error.CONFIGURATION_LENGTH, [[*CONVERTER, 0, 0]]),
        ("half a seed", Error.CONFIGURATION_LENGTH, [seed_frame(READING_SEED)[:5]]),
        ("too few weights", Error.CONFIGURATION_LENGTH, [seed_frame(1), PROGRAM[:-1]]),
        ("noisy programming without a fresh seed", Error.SEED_USED, [PROGRAM]),
        ("weight -128", Error.VALUE_RANGE, [seed_frame(1), replaced(PROGRAM, 1, -128)]),
        ("weight 128", Error.VALUE_RANGE, [seed_frame(1), replaced(PROGRAM, 6, 128)]),
        ("an offset of 25 bits", Error.VALUE_RANGE, [replaced(CONVERTER, 2, 1 << 23)]),
        ("a gain below its range", Error.VALUE_RANGE, [replaced(CONVERTER, 3, 0x7FFF)]),
        ("a gain above its range", Error.VALUE_RANGE, [replaced(CONVERTER, 4, 0x10000)]),
        ("shift 0", Error.VALUE_RANGE, [replaced(CONVERTER, 5, 0)]),
        ("shift 48", Error.VALUE_RANGE, [replaced(CONVERTER, 6, 48)]),
        ("a read sigma of 21 bits", Error.VALUE_RANGE, [replaced(CONVERTER, 7, 1 << 20)]),
    ],
)
def test_a_bad_frame_raises_error_and_good_ones_mend_the_tile(what, error, frames):
    case = GOOD

    async def bench(host, context):
        await host.configure(*case.setup)
        assert await host.input(case.x[0].tolist())
        assert not host.error
        await host.configure(*frames)
        assert host.error == error
        if frames[-1][0] != FrameKind.PARAMETERS and len(frames[-1]) > 1:
            assert not await host.input([1], patience=20), "what the frame was to set must not be ready"
        await host.configure(*case.setup)
        assert await host.input(case.x[1].tolist())
        assert await host.output(2 * CONFIG.columns) == case.codes(case.x[:1]) + case.codes(case.x[1:2])
        assert error in host.error, "sticky"

    simulate(Crossbar(CONFIG, CrossbarFolding()), bench)


@pytest.mark.parametrize(("last_row", "error"), [(0, True), (1, True), (2, False), (None, False)])
def test_last_belongs_to_the_end_of_a_vector(last_row, error):
    case = Case(CONFIG)

    async def bench(host, context):
        await host.configure(*case.setup)
        assert await host.input(case.x[0].tolist(), last_row)
        assert host.error == (Error.VECTOR_LENGTH if error else Error(0))
        assert await host.output(CONFIG.columns) == case.codes(case.x[:1])

    simulate(Crossbar(CONFIG, CrossbarFolding()), bench)


@pytest.mark.parametrize(
    ("field", "folding"),
    [
        ("folding.input_lanes", CrossbarFolding(input_lanes=4)),
        ("folding.output_lanes", CrossbarFolding(output_lanes=3)),
        ("folding.rows", CrossbarFolding(rows=5)),
        ("folding.columns", CrossbarFolding(columns=3)),
        ("folding.rows", CrossbarFolding(input_lanes=2, rows=3)),
    ],
)
def test_an_uneven_folding_is_refused(field, folding):
    with pytest.raises(ConfigurationError) as error:
        folding.check(CrossbarConfig(6, 4))
    assert error.value.field == field


@pytest.mark.parametrize(
    "component",
    [
        AxiCrossbar(CrossbarConfig(36, 8), CrossbarFolding(4, 4, 4, 8)),
        AxiCrossbar(CrossbarConfig(1, 1, dac_bits=1, adc_bits=2, noisy_programming=False), CrossbarFolding()),
        MixedSignalLayer(CrossbarConfig(9, 8), BLOCK, CrossbarFolding(3, 2, 3, 8), Folding.choose(BLOCK, 2)),
    ],
    ids=["tile", "smallest tile", "mixed-signal layer"],
)
def test_verilog_lints_clean_and_has_plain_ports(tmp_path, component):
    files = write_verilog(component, tmp_path, "engine")
    lint(files)
    streams = {
        f"{name}_{part}" for name in ("s_axis", "m_axis", "s_axis_cfg") for part in ("tdata", "tvalid", "tready")
    }
    ports = {port["name"] for port in json.loads(files.manifest.read_text())["ports"]}
    assert ports == streams | {"s_axis_tlast", "m_axis_tlast", "s_axis_cfg_tlast", "clk", "rst", "error"}
