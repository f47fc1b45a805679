"""The engine's registers: their source agrees with the contract, the bank in front of the core does what it says."""

from dataclasses import replace
from pathlib import Path

import pytest
from amaranth.hdl import ClockDomain, Module
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out
from amaranth.sim import Simulator

from quietbar.contract.engine import COUNTERS, REFERENCE, EngineConfig, EngineError, Section
from quietbar_hw.engine.core import EngineCore
from quietbar_hw.registers import RegisterBank, axi_lite_members, connect_axi_lite
from quietbar_hw.registers.checks import ALL_BYTES, Read, RegisterMismatch, Write, checks
from quietbar_hw.registers.engine import EngineRegisters, engine_map, engine_page
from quietbar_hw.registers.simulation import run_checks

SMALL = EngineConfig(
    lanes=2, group=2, channels=4, hidden=2, height=4, width=4, blocks=3, matrix_rows=4, window_rows=4, hidden_rows=2,
    channel_rows=4, noise=False, kernels="depthwise",
)  # fmt: skip
MAP = engine_map(SMALL)
PAGE = Path(__file__).parents[2] / "docs/registers-engine.md"


def test_errors_and_counters_are_those_of_the_contract_in_its_order():
    for name in ("errors", "errors_enable"):
        fields = {field.name: field.mask for field in MAP.register(name).fields}
        assert fields == {error.name.lower(): int(error) for error in EngineError}
    assert [register.name for register in MAP.registers if register.address >= 0x80] == list(COUNTERS)
    for error in EngineError:
        assert MAP.field(f"errors.{error.name.lower()}").enabled_by == f"errors_enable.{error.name.lower()}"


@pytest.mark.parametrize("config", [SMALL, REFERENCE, replace(REFERENCE, source="inverse-cdf")])
def test_capabilities_are_those_of_the_configuration(config):
    registers = engine_map(config)
    resets = {f"{register.name}.{field.name}": field.reset for register, field in registers.fields()}
    for path, value in {
        "shape.lanes": config.lanes,
        "shape.group": config.group,
        "shape.outputs": config.outputs,
        "shape.fraction_bits": config.fraction_bits,
        "shape.noise": config.noise,
        "shape.inverse_cdf": config.noise and config.source == "inverse-cdf",
        "shape.dense": config.dense,
        "shape.depthwise": config.depthwise,
        "largest_block.channels": config.channels,
        "largest_block.hidden": config.hidden,
        "largest_frame.width": config.width,
        "largest_frame.height": config.height,
        "blocks.count": config.blocks,
        "matrix_rows.count": config.matrix_rows,
        "window_rows.count": config.window_rows,
        "hidden_rows.count": config.hidden_rows,
        "channel_rows.count": config.channel_rows,
        "memory_layout.section_bits": config.section_bits,
    }.items():
        assert resets[path] == value, path
    assert registers.window("memory").entries == 1 << config.address_bits


def test_the_page_is_current():
    assert PAGE.read_text() == engine_page(), (
        "run: python -c 'from quietbar_hw.registers.engine import engine_page; print(engine_page(), end=\"\")' "
        "> docs/registers-engine.md"
    )


@pytest.mark.parametrize("stall", [0.0, 0.4])
def test_the_bank_is_what_the_map_says(stall):
    run_checks(RegisterBank(MAP), MAP, checks(MAP, windows=False), stall=stall, seed=1)


class Engine(wiring.Component):
    """The core behind its registers; nothing comes in."""

    def __init__(self, config: EngineConfig) -> None:
        self.config = config
        super().__init__({**axi_lite_members("s_axil", engine_map(config).address_bits), "interrupt": Out(1)})

    def elaborate(self, platform):
        m = Module()
        m.submodules.registers = registers = EngineRegisters(self.config)
        m.submodules.core = core = EngineCore(self.config)
        connect_axi_lite(m, self, registers)
        wiring.connect(m, registers.control, core.control)
        m.d.comb += self.interrupt.eq(registers.interrupt)
        return m


def memory(section, row=0, word=0):
    return MAP.window("memory").address + 4 * SMALL.address(section, row, word)


def test_writes_of_the_memory_are_judged_by_the_core():
    def judged():
        errors, enable = MAP.register("errors").address, MAP.register("errors_enable").address
        control = MAP.register("control").address

        def expect(write, response, cause):
            assert (yield write) == response, write
            assert (yield Read(errors)) == (int(cause), 0), write
            yield Write(errors, int(cause))

        none = EngineError(0)
        yield Write(enable, 0x3FF)
        yield from expect(Write(memory(Section.REDUCE), 0x7F81007F), 0, none)
        yield from expect(Write(memory(Section.REDUCE), 0x7F80007F), 2, EngineError.PARAMETER_RANGE)
        yield from expect(Write(memory(Section.REDUCE), 0x7F80007F, 7), 2, none)
        beyond = MAP.window("memory").address + 4 * (15 << SMALL.section_bits)
        yield from expect(Write(beyond, 0), 2, EngineError.WRITE_ADDRESS)
        for word, value in enumerate((0xFF, 0, 0)):
            yield from expect(Write(memory(Section.DESCRIPTORS, 1, word), value), 0, none)
        yield from expect(Write(memory(Section.DESCRIPTORS, 1, 3), 0), 2, EngineError.DESCRIPTOR_RANGE)
        yield Write(control, 1)
        yield from expect(Write(memory(Section.REDUCE), 0), 2, EngineError.WRITE_BUSY)

    for stall in (0.0, 0.5):
        run_checks(Engine(SMALL), MAP, {"memory": judged}, stall=stall, seed=1, memories=False)


def test_the_engine_at_rest_answers_as_the_map_says():
    found = checks(MAP, windows=False, bus_only=True)
    assert len(found) == 7
    run_checks(Engine(SMALL), MAP, found, stall=0.3, seed=1, memories=False)


def test_another_configuration_s_map_is_found_out():
    found = {"reset values": checks(engine_map(REFERENCE), windows=False, bus_only=True)["reset values"]}
    with pytest.raises(RegisterMismatch, match="shape after reset"):
        run_checks(Engine(SMALL), engine_map(REFERENCE), found, memories=False)


def simulate(process, *, component):
    top = Module()
    top.domains.sync = ClockDomain()
    top.submodules.component = component
    simulator = Simulator(top)
    simulator.add_clock(1e-8)
    simulator.add_testbench(process)
    simulator.run()


class Watched(wiring.Component):
    """The registers, with what the core would say to them as inputs."""

    def __init__(self):
        self.registers = EngineRegisters(SMALL)
        super().__init__({"busy": In(1), "frames": In(32), "interrupt": Out(1)})

    def elaborate(self, platform):
        m = Module()
        m.submodules.registers = registers = self.registers
        m.d.comb += [
            registers.control.busy.eq(self.busy),
            registers.control.counters[0].eq(self.frames),
            self.interrupt.eq(registers.interrupt),
        ]
        return m


def test_a_frame_that_leaves_and_the_last_one_raise_the_interrupt_once():
    component = Watched()
    registers = component.registers

    async def write(context, address, data):
        for name, value in (("awaddr", address), ("wdata", data), ("wstrb", ALL_BYTES), ("bready", 1)):
            context.set(getattr(registers, f"s_axil_{name}"), value)
        for valid in (1, 0):
            context.set(registers.s_axil_awvalid, valid)
            context.set(registers.s_axil_wvalid, valid)
            await context.tick().repeat(1 + 3 * (1 - valid))

    async def process(context):
        events, enable = MAP.register("events").address, MAP.register("events_enable").address
        context.set(component.busy, 1)
        await context.tick()
        context.set(component.frames, 1)
        await context.tick().repeat(3)
        assert not context.get(component.interrupt)
        await write(context, enable, 1)
        assert context.get(component.interrupt)
        await write(context, events, 1)
        assert not context.get(component.interrupt)
        await write(context, enable, 2)
        context.set(component.frames, 2)
        await context.tick().repeat(3)
        assert not context.get(component.interrupt)
        context.set(component.busy, 0)
        await context.tick().repeat(3)
        assert context.get(component.interrupt)

    simulate(process, component=component)
