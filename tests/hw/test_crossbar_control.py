"""Crossbar tiles behind registers: frames by addressed words, what is refused and why, restart, counters, the map."""

from pathlib import Path

import pytest
import torch
from amaranth.sim import Simulator

from quietbar.contract import CrossbarConfig
from quietbar.contract.crossbar import OUTPUTS
from quietbar.contract.drift import TIME
from quietbar.contract.stream import FrameKind, seed_frame
from quietbar.integer import crossbar
from quietbar_cosim.planting import planted
from quietbar_cosim.tile_bench import READING_SEED, Case
from quietbar_hw.crossbar.configuration import frame_lengths
from quietbar_hw.crossbar.control import COUNTERS, Cause, index_bits
from quietbar_hw.crossbar.controlled import ControlledCrossbar
from quietbar_hw.crossbar.folding import CrossbarFolding
from quietbar_hw.crossbar.frame_writer import FrameWriter
from quietbar_hw.crossbar.tile import Crossbar
from quietbar_hw.registers import RegisterBank
from quietbar_hw.registers.checks import checks
from quietbar_hw.registers.crossbar import REFERENCE, crossbar_map, crossbar_page
from quietbar_hw.registers.simulation import run_checks

CONFIG = CrossbarConfig(4, 2, dac_bits=4, slices=2, row_tiles=2, faults=True, drift=True, output="signed")
FOLDING = CrossbarFolding()
PAGE = Path(__file__).parents[2] / "docs/registers-crossbar.md"


def test_errors_and_counters_are_those_of_the_hardware_in_its_order():
    registers = crossbar_map(CONFIG, FOLDING)
    for name in ("errors", "errors_enable"):
        fields = {field.name: field.mask for field in registers.register(name).fields}
        assert fields == {cause.name.lower(): int(cause) for cause in Cause}
    assert [register.name for register in registers.registers if register.address >= 0x80] == list(COUNTERS)
    for cause in Cause:
        assert registers.field(f"errors.{cause.name.lower()}").enabled_by == f"errors_enable.{cause.name.lower()}"
    assert registers.field("status.loaded").width == max(FrameKind) + 1
    assert registers.field("age.step").width == TIME.bits


@pytest.mark.parametrize("config", [CONFIG, REFERENCE])
def test_capabilities_are_those_of_the_configuration(config):
    registers = crossbar_map(config, FOLDING)
    resets = {f"{register.name}.{field.name}": field.reset for register, field in registers.fields()}
    for path, value in {
        "tile.rows": config.rows,
        "tile.columns": config.columns,
        "tiles.row_tiles": config.row_tiles,
        "tiles.column_tiles": config.column_tiles,
        "converters.dac_bits": config.dac_bits,
        "converters.slices": config.slices,
        "converters.adc_bits": config.adc_bits,
        "converters.output_format": OUTPUTS.index(config.output),
        "converters.noisy_programming": config.noisy_programming,
        "converters.faults": config.faults,
        "converters.drift": config.drift,
        "lanes.inputs": FOLDING.input_lanes,
        "lanes.outputs": FOLDING.output_lanes,
        "memory_layout.index_bits": index_bits(config),
    }.items():
        assert resets[path] == value, path
    assert max(frame_lengths(config).values()) <= 1 << index_bits(config)


def test_the_page_is_current():
    assert PAGE.read_text() == crossbar_page(), (
        "run: python -c 'from quietbar_hw.registers.crossbar import crossbar_page; print(crossbar_page(), end=\"\")' "
        "> docs/registers-crossbar.md"
    )


def test_the_bank_is_what_the_map_says():
    registers = crossbar_map(CONFIG, FOLDING)
    run_checks(RegisterBank(registers), registers, checks(registers, windows=False), stall=0.4, seed=1)


class Host:
    """Tiles under control in Amaranth's simulator."""

    def __init__(self, tiles, context):
        self.tiles, self.control, self.context = tiles, tiles.control, context
        self.causes = Cause(0)

    async def tick(self, *signals):
        _, _, errors, *values = await self.context.tick().sample(self.control.errors, *signals)
        self.causes |= Cause(errors)
        return values

    def seen(self):
        """The causes since the last call."""
        causes, self.causes = self.causes, Cause(0)
        return causes

    async def word(self, kind, index, word, patience=500):
        """Whether a word was refused."""
        write = self.control.write
        self.context.set(write.payload, {"kind": kind, "index": index, "word": word})
        self.context.set(write.valid, 1)
        for _ in range(patience):
            ready, refused = await self.tick(write.ready, self.control.refused)
            if ready:
                self.context.set(write.valid, 0)
                return bool(refused)
        raise AssertionError("a write is answered")

    async def frame(self, frame, patience=500):
        """Write a frame, none of whose words is refused."""
        for index, word in enumerate(frame[1:]):
            assert not await self.word(frame[0], index, word, patience)

    async def set_up(self, case):
        """Everything, and let vectors in."""
        for frame in case.setup:
            await self.frame(frame)
        assert self.seen() == Cause(0)
        self.context.set(self.control.run, 1)

    async def pulse(self, name):
        self.context.set(getattr(self.control, name), 1)
        await self.tick()
        self.context.set(getattr(self.control, name), 0)
        # A half-written frame is dropped within a few cycles.
        for _ in range(6):
            await self.tick()

    async def exchange(self, codes, count, patience=400):
        """Send codes one by one, and take so many outputs, or what comes."""
        tiles, waiting, found, idle = self.tiles, list(codes), [], 0
        self.context.set(tiles.codes.ready, 1)
        while (waiting or len(found) < count) and idle < patience:
            if waiting:
                self.context.set(tiles.inputs.payload, [{"code": waiting[0], "last": 0}])
            self.context.set(tiles.inputs.valid, bool(waiting))
            ready, valid, payload = await self.tick(tiles.inputs.ready, tiles.codes.valid, tiles.codes.payload)
            idle += 1
            if waiting and ready:
                waiting.pop(0)
                idle = 0
            if valid:
                found.append(payload[0].code)
                idle = 0
        self.context.set(tiles.inputs.valid, 0)
        self.context.set(tiles.codes.ready, 0)
        return found

    def counter(self, name):
        return self.context.get(self.control.counters[COUNTERS.index(name)])


def simulate(bench, config=CONFIG):
    tiles = ControlledCrossbar(config, FOLDING)
    simulator = Simulator(tiles)
    simulator.add_clock(1e-8)

    async def process(context):
        await bench(Host(tiles, context), context)

    simulator.add_testbench(process)
    simulator.run()


def vectors(case, first, last):
    return case.x[first:last].flatten().tolist()


def test_codes_are_the_reference_s_and_what_happens_is_counted():
    case = Case(CONFIG)

    async def bench(host, context):
        await host.set_up(case)
        assert await host.exchange(vectors(case, 0, 4), 4 * CONFIG.outputs) == case.codes(case.x[:4])
        await host.tick()
        assert not context.get(host.control.busy)
        assert host.counter("vectors") == 4 and host.counter("busy_cycles") > 4 * CONFIG.conversions
        await host.pulse("clear")
        assert all(host.counter(name) == 0 for name in COUNTERS)
        assert host.seen() == Cause(0)

    simulate(bench)


def test_codes_at_the_ends_of_their_range_are_counted():
    config = CrossbarConfig(2, 2, noisy_programming=False)
    case = Case(config)
    converter = crossbar.design_converter(config, full_scale=100.0)

    async def bench(host, context):
        for frame in (crossbar.program_frame(config, torch.tensor([[127, 0], [127, 0]])),
                      crossbar.converter_frame(config, converter), seed_frame(READING_SEED)):  # fmt: skip
            await host.frame(frame)
        context.set(host.control.run, 1)
        assert await host.exchange([1, 1, 0, 0], 4) == [127, 0, 0, 0]
        assert host.counter("clipped_codes") == 1

    simulate(bench, case.config)


def stopped_tile():
    """A bench that stops in the middle of a vector."""
    case = Case(CONFIG)

    async def bench(host, context):
        await host.set_up(case)
        half = CONFIG.inputs // 2
        assert await host.exchange(vectors(case, 0, 1)[:half], 0) == []
        context.set(host.control.run, 0)
        assert context.get(host.control.busy)
        assert await host.word(FrameKind.TIME, 0, 5) and host.seen() == Cause.WRITE_BUSY
        found = await host.exchange(vectors(case, 0, 2)[half:], 2 * CONFIG.outputs)
        assert found == case.codes(case.x[:1]) and not context.get(host.control.busy)

    return bench


def test_a_stopped_tile_lets_no_vector_begin_and_ends_the_one_that_has():
    simulate(stopped_tile())


def restarted_tile():
    """A bench that restarts with vectors inside."""
    case = Case(CONFIG)

    async def bench(host, context):
        await host.set_up(case)
        # Two vectors go through, the third is cut off.
        assert await host.exchange(vectors(case, 0, 3)[:-3], 2 * CONFIG.outputs) == case.codes(case.x[:2])
        assert context.get(host.control.busy)
        context.set(host.control.run, 0)
        await host.pulse("restart")
        assert not context.get(host.control.busy) and not context.get(host.control.ready)
        expected = sum(1 << kind for kind in frame_lengths(CONFIG) if kind != FrameKind.SEED)
        assert context.get(host.control.loaded) == expected
        await host.frame(seed_frame(READING_SEED))
        context.set(host.control.run, 1)
        assert await host.exchange(vectors(case, 0, 2), 2 * CONFIG.outputs) == case.codes(case.x[:2])

    return bench


def test_after_a_restart_only_the_seed_is_missing():
    simulate(restarted_tile())


def test_devices_age_between_vectors():
    case = Case(CONFIG)

    async def bench(host, context):
        await host.set_up(case)
        for time in (0, 900, 386):
            context.set(host.control.run, 0)
            await host.frame(crossbar.time_frame(time))
            # It waits until all devices have aged.
            await host.frame(seed_frame(READING_SEED), patience=CONFIG.weights + 16)
            assert context.get(host.control.time) == time
            context.set(host.control.run, 1)
            aged = case.tiles.at(time).outputs(case.x[:2]).flatten().tolist()
            assert await host.exchange(vectors(case, 0, 2), 2 * CONFIG.outputs) == aged

    simulate(bench)


@pytest.mark.parametrize(
    ("writes", "cause"),
    [
        ([(FrameKind.TIME, 0, 1024)], Cause.VALUE_RANGE),
        ([(FrameKind.FAULTS, 0, 0), (FrameKind.FAULTS, 1, 3)], Cause.VALUE_RANGE),
        ([(FrameKind.CONVERTER, 1, 0)], Cause.WRITE_ORDER),
        ([(FrameKind.CONVERTER, 0, 0), (FrameKind.CONVERTER, 2, 0)], Cause.WRITE_ORDER),
        ([(FrameKind.CONVERTER, 0, 0), (FrameKind.FAULTS, 0, 0)], Cause.WRITE_ORDER),
        ([(FrameKind.TIME, 1, 0)], Cause.WRITE_ORDER),
        ([(FrameKind.PARAMETERS, 0, 0)], Cause.CONFIGURATION_KIND),
        ([(15, 0, 0)], Cause.CONFIGURATION_KIND),
        ([(FrameKind.PROGRAM, 0, 0)], Cause.SEED_USED),
    ],
)
def test_a_bad_word_is_refused_and_the_frame_is_missing_until_a_good_one_comes(writes, cause):
    case = Case(CONFIG)

    async def bench(host, context):
        await host.set_up(case)
        assert await host.exchange(vectors(case, 0, 1), CONFIG.outputs) == case.codes(case.x[:1])
        context.set(host.control.run, 0)
        await host.tick()
        answers = [await host.word(*write) for write in writes]
        assert answers == [False] * (len(writes) - 1) + [True]
        assert host.seen() == cause and not context.get(host.control.open)
        for frame in case.setup:
            await host.frame(frame)
        context.set(host.control.run, 1)
        assert await host.exchange(vectors(case, 0, 1), CONFIG.outputs) == case.codes(case.x[:1])
        assert host.seen() == Cause(0)

    simulate(bench)


def half_written_frames():
    """A bench that leaves a frame's last word out, once with a write out of turn after it, once with a restart."""
    case = Case(CONFIG)
    faults = next(frame for frame in case.setup if frame[0] == FrameKind.FAULTS)

    async def bench(host, context):
        for restart in (False, True):
            await host.set_up(case)
            context.set(host.control.run, 0)
            for index, word in enumerate(faults[1:-1]):
                assert not await host.word(FrameKind.FAULTS, index, word)
            assert context.get(host.control.open)
            if restart:
                await host.pulse("restart")
                assert host.seen() == Cause(0)
            else:
                assert await host.word(FrameKind.FAULTS, 0, 0) and host.seen() == Cause.WRITE_ORDER
            assert not context.get(host.control.open)
            assert not context.get(host.control.loaded) >> FrameKind.FAULTS & 1, "in effect"

    return bench


def test_a_frame_of_which_one_word_is_missing_never_comes_into_effect():
    simulate(half_written_frames())


FAULTS = {
    "a half-written frame is made whole": (
        (FrameWriter, "elaborate", "self.frames.p.last.eq(~ending)", "self.frames.p.last.eq(1)"),
        half_written_frames,
        "in effect",
    ),
    "a stopped tile lets vectors begin": (
        (ControlledCrossbar, "elaborate", "control.run | ~beat_in.at_start", "1"),
        stopped_tile,
        "assert",
    ),
    "a restart keeps the seed": (
        (Crossbar, "_follow_vectors", "configuration.forget.eq(self.restart)", "configuration.forget.eq(0)"),
        restarted_tile,
        "assert",
    ),
    "a restart keeps what is inside": (
        (Crossbar, "elaborate", "anew = ResetInserter(self.restart)", "anew = ResetInserter(Signal())"),
        restarted_tile,
        "assert",
    ),
}
"""What is planted where, the bench that catches it, and what that says."""


@pytest.mark.parametrize("fault", FAULTS)
def test_planted_faults_are_caught(fault):
    place, bench, message = FAULTS[fault]
    with planted(*place), pytest.raises(AssertionError, match=message):
        simulate(bench())


def test_vectors_wait_for_what_is_missing():
    case = Case(CONFIG)

    async def bench(host, context):
        *rest, seed = case.setup
        for frame in rest:
            await host.frame(frame)
        context.set(host.control.run, 1)
        assert await host.exchange(vectors(case, 0, 1), 1, patience=20) == []
        assert host.seen() == Cause.NOT_CONFIGURED
        context.set(host.control.run, 0)
        await host.frame(seed)
        context.set(host.control.run, 1)
        assert await host.exchange(vectors(case, 0, 1), CONFIG.outputs) == case.codes(case.x[:1])

    simulate(bench)
