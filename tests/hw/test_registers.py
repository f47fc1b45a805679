"""Register maps: the source read as it is meant, the bank held to the map, and the faults that its checks must find."""

import dataclasses
from pathlib import Path

import pytest
from amaranth.hdl import ClockDomain, Module
from amaranth.sim import Simulator

from quietbar.contract import ConfigurationError
from quietbar_hw.registers import RegisterBank, bank
from quietbar_hw.registers.axi_lite import AxiLiteSlave
from quietbar_hw.registers.checks import BankModel, RegisterMismatch, checks
from quietbar_hw.registers.model import RegisterMap
from quietbar_hw.registers.rdl import RegisterSourceError, read_map
from quietbar_hw.registers.simulation import run_checks
from quietbar_hw.verilog import lint, write_verilog

SOURCE = Path(__file__).parent / "sample.rdl"
MAP = read_map(SOURCE)
CHECKS = checks(MAP)


def changed(path: str, **values: object) -> RegisterMap:
    """The map with one field changed."""
    name, _, field = path.partition(".")
    registers = [
        dataclasses.replace(
            register,
            fields=tuple(
                dataclasses.replace(each, **values) if (register.name, each.name) == (name, field) else each
                for each in register.fields
            ),
        )
        for register in MAP.registers
    ]
    return dataclasses.replace(MAP, registers=tuple(registers))


# The source.


def test_addresses_arrays_and_register_files_are_laid_out():
    assert {register.name: register.address for register in MAP.registers} == {
        "identity": 0x00,
        "control": 0x04,
        "status": 0x08,
        "cause": 0x10,
        "interrupt_enable": 0x14,
        "cycles": 0x18,
        "outside": 0x20,
        "wide": 0x28,
        "saturations_0": 0x30,
        "saturations_1": 0x34,
        "events": 0x38,
        "request": 0x3C,
        "seed_low": 0x48,
        "seed_high": 0x4C,
    }
    assert [(window.name, window.address, window.entries, window.access) for window in MAP.windows] == [
        ("numbers", 0x80, 10, "rw"),
        ("inbox", 0xC0, 2, "w"),
        ("outbox", 0xC8, 2, "r"),
    ]
    assert (MAP.bytes, MAP.address_bits) == (0xD0, 8)


def test_parameters_of_the_source_reach_resets_and_windows():
    registers = read_map(SOURCE, {"ENTRIES": 3, "LANES": 16})
    assert registers.field("identity.lanes").reset == 16
    assert registers.window("numbers").entries == 3
    assert registers.parameters == {"ENTRIES": 3, "LANES": 16}
    with pytest.raises(RegisterSourceError, match="'ROWS'"):
        read_map(SOURCE, {"ROWS": 3})


def test_what_a_field_is_for_is_read_from_its_properties():
    field = MAP.field("cause.overflow")
    assert (field.on_write, field.set_by_hardware, field.interrupt) == ("one_clears", True, True)
    assert field.enabled_by == "interrupt_enable.overflow" and field.hardware_first and field.output
    assert MAP.field("cycles.count").cleared_by == "control.clear"
    assert MAP.field("status.busy").reset is None and MAP.field("status.busy").hardware == "drive"
    assert not MAP.field("cause.late").hardware_first


def test_a_map_survives_the_way_through_plain_values():
    assert RegisterMap.from_dict(MAP.to_dict()) == MAP


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("reg { field { sw = rw; hw = w; } a[0:0] = 0; } one @ 0;", r"one.a.hw = 'w'"),
        ("reg { field { sw = rw; onwrite = wot; } a[0:0] = 0; } one @ 0;", r"one.a.onwrite = 'wot'"),
        ("reg { field { sw = r; onread = rset; } a[0:0] = 0; } one @ 0;", r"one.a.onread = 'rset'"),
        ("reg { field { sw = rw; swmod; } a[0:0] = 0; } one @ 0;", r"one.a.swmod"),
        ("external mem { mementries = 4; memwidth = 8; } many @ 0;", r"many.memwidth = 8"),
        ("external reg { field {} a[0:0] = 0; } one @ 0;", r"one.external = True"),
        ("reg { regwidth = 128; field { hw = r; } a[0:0] = 0; } one @ 0;", r"register.one.width = 128"),
    ],
)
def test_what_a_bank_has_no_place_for_is_refused_by_name(tmp_path, body, message):
    path = tmp_path / "wrong.rdl"
    path.write_text(f"addrmap wrong {{ default regwidth = 32; default accesswidth = 32; {body} }};")
    with pytest.raises(ConfigurationError, match=message):
        read_map(path)


def test_errors_of_the_source_name_file_and_line(tmp_path):
    path = tmp_path / "wrong.rdl"
    path.write_text("addrmap wrong {\n  reg { field { sw = maybe; } a[0:0] = 0; } r @ 0;\n};")
    with pytest.raises(RegisterSourceError, match=r"wrong\.rdl:2"):
        read_map(path)
    with pytest.raises(ConfigurationError, match="exists"):
        read_map(tmp_path / "absent.rdl")


# The bank.


@pytest.mark.parametrize("stall", [0.0, 0.5])
def test_the_bank_is_what_the_map_says(stall):
    accesses = run_checks(RegisterBank(MAP), MAP, CHECKS, stall=stall, seed=3)
    assert list(accesses) == list(CHECKS) and all(accesses.values())


def test_there_is_a_check_for_whatever_a_register_can_do():
    assert set(CHECKS) == {
        "reset values",
        "nothing there",
        *(f"writes {name}" for name in ("control", "cause", "interrupt_enable", "wide", "request")),
        *(f"writes {name}" for name in ("saturations_0", "saturations_1", "seed_low", "seed_high")),
        "pulse control.restart",
        "pulse control.clear",
        *(f"hardware status.{name}" for name in ("busy", "last", "first")),
        *(f"hardware cause.{name}" for name in ("overflow", "underflowed", "late")),
        *(f"hardware {name}.count" for name in ("cycles", "outside", "saturations_0", "saturations_1", "events")),
        "hardware request.requests",
        "interrupt cause",
        "snapshot outside",
        "window numbers",
        "window inbox",
        "window outbox",
    }


def test_the_verilog_is_lint_clean(tmp_path):
    lint(write_verilog(RegisterBank(MAP), tmp_path, "sample"))


def simulate(component, process):
    top = Module()
    top.domains.sync = ClockDomain()
    top.submodules.component = component
    simulator = Simulator(top)
    simulator.add_clock(1e-8)
    simulator.add_testbench(process)
    simulator.run()


async def access(context, component, address, data=None):
    """One access of a master that does all at once; (data read, response)."""
    channel, answer = ("ar", "r") if data is None else ("aw", "b")
    context.set(getattr(component, f"s_axil_{channel}addr"), address)
    context.set(getattr(component, f"s_axil_{channel}valid"), 1)
    if data is not None:
        context.set(component.s_axil_wdata, data)
        context.set(component.s_axil_wstrb, 15)
        context.set(component.s_axil_wvalid, 1)
    await context.tick()
    for each in (channel, "w"):
        context.set(getattr(component, f"s_axil_{each}valid"), 0)
    context.set(getattr(component, f"s_axil_{answer}ready"), 1)
    valid, response = getattr(component, f"s_axil_{answer}valid"), getattr(component, f"s_axil_{answer}resp")
    _, found, read = await context.tick().sample(valid, response, component.s_axil_rdata).until(valid)
    context.set(getattr(component, f"s_axil_{answer}ready"), 0)
    return read, found


@pytest.mark.parametrize(("path", "kept"), [("cause.overflow", 1), ("cause.late", 0)])
def test_an_event_in_the_cycle_of_a_write_is_lost_only_where_software_comes_first(path, kept):
    component, field = RegisterBank(MAP), MAP.field(path)
    event = getattr(component, f"cause_{field.name}_set")

    async def process(context):
        context.set(event, 1)
        await context.tick()
        context.set(event, 0)
        # A write is stored two cycles after its channels were offered; the event comes in each cycle around that.
        for delay in range(4):
            context.set(component.s_axil_awaddr, 0x10)
            context.set(component.s_axil_wdata, field.mask)
            context.set(component.s_axil_wstrb, 15)
            context.set(component.s_axil_awvalid, 1)
            context.set(component.s_axil_wvalid, 1)
            context.set(component.s_axil_bready, 1)
            for cycle in range(6):
                context.set(event, cycle == delay)
                await context.tick()
                context.set(component.s_axil_awvalid, 0)
                context.set(component.s_axil_wvalid, 0)
            stored = 1  # the cycle in which the write takes effect
            expected = 0 if delay < stored else kept if delay == stored else 1
            assert context.get(getattr(component, f"cause_{field.name}")) == expected, f"event in cycle {delay}"

    simulate(component, process)


def test_a_counter_that_is_cleared_while_it_counts_loses_no_event():
    component = RegisterBank(MAP)

    async def process(context):
        context.set(component.saturations_0_count_step, 1)
        await access(context, component, 0x30, 0)
        # One event comes in the cycle of the clear, one in that of the response.
        context.set(component.saturations_0_count_step, 0)
        assert (await access(context, component, 0x30))[0] == 2

    simulate(component, process)


@pytest.mark.parametrize("waits_for", ["read", "write"])
def test_neither_response_waits_for_the_other(waits_for):
    """A master may wait for one response before it takes the other."""
    component = RegisterBank(MAP)

    async def process(context):
        for channel in ("aw", "w", "ar"):
            context.set(getattr(component, f"s_axil_{channel}valid"), 1)
        await context.tick()
        for channel in ("aw", "w", "ar"):
            context.set(getattr(component, f"s_axil_{channel}valid"), 0)
        first, second = ("r", "b") if waits_for == "read" else ("b", "r")
        for channel in (first, second):
            context.set(getattr(component, f"s_axil_{channel}ready"), 1)
            valid = getattr(component, f"s_axil_{channel}valid")
            for _ in range(10):
                _, _, came = await context.tick().sample(valid)
                if came:
                    break
            else:
                pytest.fail(f"no response on {channel}")
            context.set(getattr(component, f"s_axil_{channel}ready"), 0)

    simulate(component, process)


def test_reads_and_writes_take_turns_on_a_busy_port():
    component = RegisterBank(MAP)
    counts = {"b": 0, "r": 0}

    async def process(context):
        for name in ("awvalid", "wvalid", "arvalid", "bready", "rready"):
            context.set(getattr(component, f"s_axil_{name}"), 1)
        for _ in range(200):
            _, _, b, r = await context.tick().sample(component.s_axil_bvalid, component.s_axil_rvalid)
            counts["b"] += b
            counts["r"] += r

    simulate(component, process)
    assert counts["b"] > 90 and counts["r"] > 90


def test_a_refusal_of_the_memory_is_a_slave_error():
    component = RegisterBank(MAP)

    async def process(context):
        context.set(component.numbers_acknowledge, 1)
        for refused in (0, 1):
            context.set(component.numbers_refused, refused)
            assert (await access(context, component, 0x84, 5))[1] == 2 * refused
            assert (await access(context, component, 0x84))[1] == 2 * refused

    simulate(component, process)


# Faults: each is planted, and some check must find it.


def complaint(component, name: str, stall: float = 0.0) -> str:
    """What a check says of a bank."""
    with pytest.raises(RegisterMismatch) as found:
        run_checks(component, MAP, {name: CHECKS[name]}, stall=stall, seed=5)
    return str(found.value)


@pytest.mark.parametrize(
    ("path", "values", "found"),
    [
        ("control.amount", {"reset": 0x5A4}, "reset values: "),
        ("identity.lanes", {"reset": 5}, "reset values: identity after reset: is 0x51420005"),
        ("cause.overflow", {"on_write": "store"}, "writes cause: "),
        ("request.requests", {"on_write": "store"}, "writes request: "),
        ("control.amount", {"access": "r"}, "writes control: "),
        ("identity.magic", {"access": "rw"}, "nothing there: response to a write of 0x0: is 0, must be 2"),
        ("control.hidden", {"access": "rw"}, "writes control: "),
        ("control.restart", {"pulse": False}, "pulse control.restart: "),
        ("events.count", {"on_read_clears": False}, "hardware events.count: "),
        ("cause.overflow", {"enabled_by": ""}, "interrupt cause: "),
        ("cause.overflow", {"enabled_by": "interrupt_enable.underflowed"}, "interrupt cause: "),
        ("cycles.count", {"cleared_by": "control.run"}, "hardware cycles.count: "),
    ],
)
def test_a_bank_made_from_another_map_is_found_out(path, values, found):
    name, _, what = found.partition(": ")
    assert complaint(RegisterBank(changed(path, **values)), name).startswith(f"{name}: {what}")


class StrobesIgnored(AxiLiteSlave):
    def elaborate(self, platform):
        m = super().elaborate(platform)
        with m.If(self.s_axil_wvalid & self.s_axil_wready):
            m.d.sync += self.strobe.eq(15)
        return m


class ResponseLost(AxiLiteSlave):
    def elaborate(self, platform):
        m = super().elaborate(platform)
        with m.If(self.s_axil_bvalid):
            m.d.sync += self.s_axil_bvalid.eq(0)
        return m


class DataFollows(AxiLiteSlave):
    """Takes write data in the cycle of the address alone."""

    def elaborate(self, platform):
        m = super().elaborate(platform)
        m.d.comb += self.s_axil_wready.eq(self.s_axil_awvalid & self.s_axil_awready)
        return m


@pytest.mark.parametrize(
    ("faulty", "stall", "found"),
    [
        (StrobesIgnored, 0.0, "writes wide: wide after a write of 0xffffffff with strobe 0b0001: is"),
        (ResponseLost, 0.5, "writes wide: s_axil_b changed before it was taken"),
        (DataFollows, 0.5, "writes wide: s_axil_wready stays low"),
    ],
)
def test_a_faulty_port_is_found_out(monkeypatch, faulty, stall, found):
    monkeypatch.setattr(bank, "AxiLiteSlave", faulty)
    assert complaint(RegisterBank(MAP), "writes wide", stall).startswith(found)


def test_a_lost_response_is_no_matter_to_a_master_that_never_waits(monkeypatch):
    """Which is why the checks are run with stalls, too."""
    monkeypatch.setattr(bank, "AxiLiteSlave", ResponseLost)
    run_checks(RegisterBank(MAP), MAP, {"writes wide": CHECKS["writes wide"]})


def test_a_snapshot_that_is_none_is_found_out(monkeypatch):
    monkeypatch.setattr(BankModel, "read", _no_snapshot)
    assert complaint(RegisterBank(MAP), "snapshot outside").startswith("snapshot outside: the high word of outside: is")


def _no_snapshot(self, address, read=BankModel.read):
    found = self._find(address)
    if getattr(found, "words", 0) == 2 and address != found.address:
        return self.content(found) >> 32, 0
    return read(self, address)
