# amaranth: UnusedElaboratable=no
"""Properties of the hardware proven, and the planted faults that break them."""

import inspect
import json
import re
from dataclasses import replace
from pathlib import Path

import pytest
from amaranth.hdl import Assert, Assume, Module
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from quietbar.contract import ConfigurationError
from quietbar_cosim.planting import planted
from quietbar_hw.arithmetic import PlacedRequantizer, Requantizer, requantize
from quietbar_hw.board.bridge import Bridge
from quietbar_hw.board.packets import PacketReceiver, PacketSender
from quietbar_hw.conv import LineBuffer
from quietbar_hw.crossbar.controlled import ControlledCrossbar
from quietbar_hw.crossbar.controlled_top import AxiLiteCrossbar
from quietbar_hw.crossbar.converter import Converter
from quietbar_hw.crossbar.frame_writer import FrameWriter
from quietbar_hw.denoiser import AxiDenoiser
from quietbar_hw.denoiser.subtract import Subtract
from quietbar_hw.engine.frames import DescriptorTable
from quietbar_hw.engine.framing import Framing
from quietbar_hw.engine.memory import Writer
from quietbar_hw.formal import ProofError, Surrounded, prove
from quietbar_hw.formal.abstraction import left_open
from quietbar_hw.formal.properties.catalogue import PROPERTIES
from quietbar_hw.formal.properties.streams import COMPONENTS, LARGE, NEVER_WAIT, PRODUCTS, hardware_components
from quietbar_hw.formal.suite import families, prove_all, table
from quietbar_hw.formal.surroundings import stream_ports
from quietbar_hw.register_slice import RegisterSlice
from quietbar_hw.registers.axi_lite import AxiLiteSlave
from quietbar_hw.registers.bank import RegisterBank
from quietbar_hw.registers.core import CoreRegisters
from quietbar_hw.registers.crossbar import CrossbarRegisters
from quietbar_hw.stream import Fork, Queue, ResultQueue

DRIVES = re.compile(r"Out\(stream\.Signature|_tvalid\"?: Out\(|m_axis_|axi_lite_members\(")
"""What the constructor of a component with a stream that goes out says."""


def test_every_component_that_drives_a_stream_is_in_the_catalogue():
    def drives_one(component):
        own = [base for base in component.__mro__ if base.__module__.startswith("quietbar_hw")]
        return any(DRIVES.search(inspect.getsource(base.__init__)) for base in own)

    drives = {each for each in hardware_components() if drives_one(each)}
    bases = {base for each in COMPONENTS for base in each.__mro__[1:]}
    missing = drives - set(COMPONENTS) - bases
    assert missing == NEVER_WAIT, "to be added to quietbar_hw.formal.properties.streams.COMPONENTS"
    assert set(COMPONENTS) <= drives, "the pattern sees what it should"


def test_what_is_in_the_catalogue_is_what_it_says_and_drives_a_stream():
    for component, streams in COMPONENTS.items():
        made = streams.make()
        assert type(made) is component
        assert [port for port in stream_ports(made) if not port.taken and port.stalls]
    for component in NEVER_WAIT:
        assert not [port for port in stream_ports(component(8)) if port.stalls]


FAST = [each for each in PROPERTIES.values() if each.fast]


@pytest.mark.parametrize("each", FAST, ids=[each.name for each in FAST])
def test_holds(each):
    verdict = each.prove()
    assert verdict.holds, verdict.trace


# Property, then the fault: class, method, what stands there, what is planted.
FAULTS = {
    "a slice that drops what it offers": (
        "streams/RegisterSlice", RegisterSlice, "leaving = self.o.ready | ~offering",
        "leaving = self.o.ready | self.i.valid | ~offering",
    ),
    "a slice that swaps its registers": (
        "queues/RegisterSlice", RegisterSlice, "Mux(holding, spare, entering)", "Mux(holding, entering, spare)",
    ),
    "a slice that is always ready": (
        "queues/RegisterSlice", RegisterSlice, "self.i.ready.eq(~holding)", "self.i.ready.eq(1)",
    ),
    "a queue that offers when it is empty": (
        "queues/Queue", Queue, "self.o.valid.eq(there)", "self.o.valid.eq(there | self.i.valid)",
    ),
    "a queue that is ready when it is full": (
        "queues/Queue", Queue, "self.i.ready.eq(~full)", "self.i.ready.eq(1)",
    ),
    "credit for one result too many": (
        "queues/ResultQueue", ResultQueue, "self.depth - self.burst", "self.depth - self.burst + 1",
    ),
    "a fork that forgets who has taken": (
        "queues/Fork", Fork, "Mux(done.all(), 0, done)", "0",
    ),
    "a converter that goes on while its code waits": (
        "streams/crossbar Converter", Converter, "advance.eq(~self.codes.valid | self.codes.ready)", "advance.eq(1)",
    ),
    "an output that waits for the input": (
        "streams/denoiser Subtract", Subtract, "wiring.connect(m, results.o, wiring.flipped(self.o))",
        "m.d.comb += [self.o.valid.eq(results.o.valid & self.mean.valid), results.o.ready.eq(self.o.ready)]",
    ),
    "an early end that moves": (
        "streams/crossbar FrameWriter", FrameWriter, "self.frames.p.last.eq(~ending)",
        "self.frames.p.last.eq(~ending & ~self.abandon)",
    ),
    "a word that is answered before the tiles took it": (
        "streams/registers CrossbarRegisters", CrossbarRegisters, "(~whole | control.write.ready)", "1",
    ),
    "rounding down": (
        "requantizer/24 to 8 signed", requantize, "rounded.eq((value + 1) >> 1)", "rounded.eq(value >> 1)", "round_off",
    ),
    "bits beyond that are not looked at": (
        "requantizer/24 to 8 signed", requantize, "fits.eq(~beyond & (", "fits.eq((", "round_off",
    ),
    "a shift that wraps": (
        "requantizer/24 to 8 signed", Requantizer, "places_early.eq(self.shift - 1)",
        "places_early.eq((self.shift - 1)[:5])",
    ),
    "an upper part taken for unsigned": (
        "requantizer/24 to 8 signed", Requantizer, "self.accumulator[low_bits:].as_signed()",
        "self.accumulator[low_bits:]",
    ),
    "a saturation that is not told": (
        "requantizer/24 to 8 unsigned", Requantizer, "self.saturated.eq(~fits)", "self.saturated.eq(~fits & ~beyond)",
    ),
    "bits beyond a window that are not looked at": (
        "requantizer of engines/24 to 8 signed", PlacedRequantizer, "Cat(differs[2 * place :])",
        "Cat(differs[2 * place + 1 :])",
    ),
    "a window a place off": (
        "requantizer of engines/24 to 8 signed", PlacedRequantizer, "number = delay(m, self.window, 3,",
        "number = delay(m, self.window, 2,",
    ),
    "a byte for the engine that comes with its answer": (
        "streams/board Bridge", Bridge, "waiting_out.o.ready.eq(self.o.ready & full)", "waiting_out.o.ready.eq(full)",
        "_give_beats",
    ),
    "an escape that waits for nobody": (
        "streams/board PacketSender", PacketSender, "with m.If(self.o.ready):\n            m.d.sync += second",
        "with m.If(1):\n            m.d.sync += second",
    ),
    "a content that waits for nobody": (
        "streams/board PacketReceiver", PacketReceiver, "with m.If(offered & self.o.ready):", "with m.If(offered):",
    ),
    "tiles that let a code go when a vector may begin": (
        "streams/crossbar ControlledCrossbar", ControlledCrossbar,
        "wiring.connect(m, tile.codes, wiring.flipped(self.codes))",
        "m.d.comb += [self.codes.payload.eq(tile.codes.payload), self.codes.valid.eq(tile.codes.valid & control.run), "
        "tile.codes.ready.eq(self.codes.ready)]",
    ),
    "a last code that follows the interrupt": (
        "streams/crossbar AxiLiteCrossbar", AxiLiteCrossbar, "self.m_axis_tlast.eq(codes[-1].last)",
        "self.m_axis_tlast.eq(codes[-1].last & ~registers.interrupt)",
    ),
    "edges that are not zero": (
        "windows/2 x 2", LineBuffer, "Mux(edges.last_column, 0, Value.cast(column))", "Value.cast(column)",
    ),
    "a last window that leaves in the middle of a row": (
        "windows/2 x 2, a gap", LineBuffer, "(center.pending & center.ends_frame)", "center.pending",
    ),
    "a window more than there is room for": (
        "windows/2 x 2, a stall", LineBuffer, "allowed & (windows.room | ~center.pending)", "allowed",
    ),
    "rows in the wrong order": (
        "windows/3 x 3", LineBuffer, "((middle - 1) % self.banks, middle, (middle + 1) % self.banks)",
        "((middle + 1) % self.banks, middle, (middle - 1) % self.banks)",
    ),
    "a write that is answered before its data came": (
        "axi4-lite/AxiLiteSlave", AxiLiteSlave, "wants_write = have_aw & have_w &", "wants_write = have_aw &",
    ),
    "a read that waits for a write": (
        "axi4-lite/RegisterBank", AxiLiteSlave, "wants_read = have_ar & (", "wants_read = have_ar & have_aw & (",
    ),
    "a response that is not kept": (
        "streams/registers AxiLiteSlave", AxiLiteSlave, "with m.If(self.s_axil_rready):", "with m.If(1):",
    ),
    "hardware and software in the wrong order": (
        "registers/every kind of field", RegisterBank, "steps if field.hardware_first else reversed(steps)", "steps",
        "_store",
    ),
    "strobes that are ignored": (
        "registers/every kind of field", RegisterBank, "bit.replicate(8) for bit in port.strobe",
        "bit.replicate(8) | 255 for bit in port.strobe", "_register",
    ),
    "strobes that are ignored, in the crossbar's bank": (
        "registers/crossbar", RegisterBank, "bit.replicate(8) for bit in port.strobe",
        "bit.replicate(8) | 255 for bit in port.strobe", "_register",
    ),
    "vectors that may begin while frames are written": (
        "crossbar/frames are written undisturbed", ControlledCrossbar,
        "writer.allowed.eq(~control.run & (inside == 0))",
        "writer.allowed.eq(~self.inputs.valid & (inside == 0))",
    ),
    "a frame too short that is not made up": (
        "engine/frames leave whole", Framing, "ends_frame.eq(ends_row & (row == fields.last_row))",
        "ends_frame.eq(beat.last | (ends_row & (row == fields.last_row)))",
    ),
    "a frame that takes the descriptor of the one before": (
        "engine/frames leave whole", Framing, "known.eq(~(first_there & advance))", "known.eq(1)",
    ),
    "a frame of an unknown block that stays": (
        "engine/no beat waits for ever", Framing, "(held & (doing == Doing.DROP)) | unusable)",
        "(held & (doing == Doing.DROP)))",
    ),
    "a refused write that is stored": (
        "engine/writes are answered", Writer, "storing.eq(errors == 0)", "storing.eq(1)",
    ),
}  # fmt: skip


FIRST = {name: fault for fault, (name, *_) in reversed(FAULTS.items())}
"""One of each property; the others take their turn with the slow tests."""


@pytest.mark.parametrize(
    "fault",
    [each if FIRST[FAULTS[each][0]] == each else pytest.param(each, marks=pytest.mark.slow) for each in FAULTS],
)
def test_catches(fault):
    name, owner, old, new, *method = FAULTS[fault]
    with planted(owner, method[0] if method else "elaborate", old, new):
        verdict = PROPERTIES[name].prove()
    assert not verdict.holds
    assert verdict.trace.split()[:2] == ["cycle", "0"]
    assert len(verdict.trace.splitlines()[0].split()) == verdict.depth + 1


def test_streams_of_nested_interfaces_keep_their_direction():
    made = COMPONENTS[CrossbarRegisters].make()
    assert {port.name for port in stream_ports(made) if not port.taken} == {"s_axil_b", "s_axil_r", "control.write"}


def test_what_a_writer_of_frames_is_promised_is_needed_and_kept():
    """`FrameWriter` lets go of a word when it is no longer allowed; the registers see to it that this cannot be."""
    made = COMPONENTS[FrameWriter].make
    assert not prove(Surrounded(made()), "induction", 20).holds
    old, new = "eq(bank.control_restart)", "eq(bank.control_restart | control.write.valid)"
    with planted(CoreRegisters, "connect", old, new):
        assert not PROPERTIES["streams/registers CrossbarRegisters"].prove().holds


def test_catches_a_last_beat_that_moves():
    # The whole pipeline must fill before it shows: a search cycle by cycle is there sooner than one for an invariant.
    old, new = "self.m_axis_tlast.eq(beat_out.at_end)", "self.m_axis_tlast.eq(beat_out.at_end & ~may_flow)"
    searched = replace(PROPERTIES["streams/denoiser AxiDenoiser"], method="bounded", depth=100)
    with planted(AxiDenoiser, "elaborate", old, new):
        assert not searched.prove().holds


@pytest.mark.slow
def test_catches_a_descriptor_that_needs_more_than_there_is():
    old, new = "rows - needed[name]", "rows + 1 - needed[name]"
    with planted(DescriptorTable, "_fits", old, new):
        assert not PROPERTIES["engine/unfit descriptors stay unknown"].prove().holds


@pytest.mark.slow
@pytest.mark.parametrize("each", [each for each in PROPERTIES.values() if not each.fast], ids=lambda each: each.name)
def test_holds_too(each):
    verdict = each.prove()
    assert verdict.holds, verdict.trace


def test_results_are_kept_and_taken_while_nothing_changes(tmp_path):
    chosen = [PROPERTIES["streams/Fork"], PROPERTIES["streams/Resize"]]
    first = prove_all(chosen, tmp_path)
    again = prove_all(chosen, tmp_path, jobs=2)
    assert [result.known for result in first + again] == [False, False, True, True]
    with planted(Fork, "elaborate", "Mux(done.all(), 0, done)", "0"):
        changed = prove_all(chosen, tmp_path)
    assert [result.known for result in changed] == [False, True]
    rows = [("streams/Fork", "induction", "proven"), ("streams/Resize", "induction", "proven")]
    assert [(name, method, verdict) for name, method, _, verdict, _ in table(again)] == rows


class Adder(wiring.Component):
    """Something with a register."""

    def __init__(self):
        super().__init__({"i": In(2), "o": Out(2)})

    def elaborate(self, platform):
        m = Module()
        m.d.sync += self.o.eq(self.o + self.i)
        m.d.comb += Assert(self.o != 3)
        return m


def test_an_equivalence_has_no_registers():
    with pytest.raises(ProofError, match="an equivalence has no registers"):
        prove(Adder(), "equivalence", 1)


def test_an_unknown_method_is_refused():
    with pytest.raises(ConfigurationError, match="method = 'hope'"):
        prove(RegisterSlice(2), "hope", 4)  # refused before anything is elaborated


class Contradiction(wiring.Component):
    """What is assumed of the input cannot be from the third cycle on; so what is asserted is never broken."""

    def __init__(self):
        super().__init__({"i": In(1), "o": Out(2)})

    def elaborate(self, platform):
        m = Module()
        m.d.sync += self.o.eq(self.o + 1)
        m.d.comb += [Assume((self.o != 2) | self.i), Assume((self.o != 2) | ~self.i), Assert(self.o != 3)]
        return m


@pytest.mark.parametrize("method", ["induction", "bounded"])
def test_nothing_is_proven_where_assumptions_contradict_each_other(method):
    with pytest.raises(ProofError, match=r"no run keeps the assumptions for \d+ cycles: nothing is proven"):
        prove(Contradiction(), method, 8)


@pytest.mark.slow
@pytest.mark.parametrize(
    "component", [each for each in COMPONENTS if each not in LARGE], ids=lambda each: each.__name__
)
def test_what_the_rules_are_about_happens(component):
    """Each stream that comes out is seen to wait, whatever else is assumed; `Framing` offers to whom is ready only."""
    streams = COMPONENTS[component]
    for name in [port.name for port in stream_ports(streams.make()) if not port.taken and port.stalls]:

        def never_waits(m, part, name=name):
            if streams.beside is not None:
                streams.beside(m, part)
            port = next(port for port in stream_ports(part) if port.name == name)
            m.d.comb += Assert(~(port.valid & ~port.ready))

        with left_open(streams.open):
            verdict = prove(Surrounded(streams.make(), never_waits, rules=False), "bounded", 40, free=PRODUCTS)
        assert verdict.holds == (component is Framing), f"{name}: {verdict}"


RECORD = Path(__file__).parents[2] / "docs" / "results" / "formal.json"


def test_the_table_of_the_document_is_that_of_the_record():
    facts = json.loads(RECORD.read_text())
    document = DOCUMENT.read_text()
    for row in families(facts):
        assert f"| {' | '.join(row)} |" in document, row
    assert f"{facts['proven']} of {facts['of']} proven, {facts['seconds']:.0f} s of processor time" in document


@pytest.mark.slow
def test_the_record_has_all_properties_and_all_are_proven():
    recorded = {each["name"]: each["holds"] for each in json.loads(RECORD.read_text())["properties"]}
    assert recorded == dict.fromkeys(PROPERTIES, True)


DOCUMENT = Path(__file__).parents[2] / "docs" / "verification.md"


def test_the_example_of_the_document_prints_what_is_said(capsys):
    example, printed = re.search(r"^```python\n(.*?)^```.*?^```\n(.*?)^```", DOCUMENT.read_text(), re.M | re.S).groups()
    exec(compile(example, DOCUMENT.name, "exec"), {"__name__": "example"})
    said = capsys.readouterr().out
    assert said.splitlines()[0] == printed.splitlines()[0]
    assert [line.split()[0] for line in said.splitlines()] == [line.split()[0] for line in printed.splitlines()]


def test_the_example_of_the_document_holds_when_it_is_mended():
    example = re.search(r"^```python\n(.*?)^print", DOCUMENT.read_text(), re.M | re.S)[1]
    mended = example.replace("self.i.ready.eq(1)", "self.i.ready.eq(self.o.ready | ~self.o.valid)")
    mended = mended.replace("m.If(self.i.valid)", "m.If(self.i.valid & self.i.ready)")
    space = {"__name__": "example"}
    exec(compile(mended, DOCUMENT.name, "exec"), space)
    assert str(prove(Surrounded(space["Skip"]()), "induction", 100)) in DOCUMENT.read_text()
