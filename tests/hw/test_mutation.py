"""Faults that are planted automatically: what they are, that one is active at a time, and which change nothing."""

import re
from collections import Counter

import pytest
from amaranth.hdl import Module, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from quietbar.contract import UINT8, ConfigurationError
from quietbar_hw.conv import LineBuffer
from quietbar_hw.formal.equivalence import equivalent
from quietbar_hw.mutation import KINDS, choose, find_faults, plant, sound_text
from quietbar_hw.mutation.observing import looks_the_same, ports_of
from quietbar_hw.registers.axi_lite import AxiLiteSlave
from quietbar_hw.stream import Resize


@pytest.fixture(scope="module")
def line_buffer():
    return sound_text(LineBuffer(4, 5, 4, 2, UINT8))


def test_there_are_faults_of_every_kind_and_each_names_its_source(line_buffer):
    faults = find_faults(line_buffer)
    assert {fault.kind for fault in faults} == set(KINDS)
    assert all(re.fullmatch(r"[a-z_/]+\.py:\d+", fault.source) for fault in faults)
    below = find_faults(line_buffer, lambda module: module == "top.windows")
    assert below and {fault.module for fault in below} == {"top.windows"}


def test_a_choice_is_the_seed_s_and_spread(line_buffer):
    faults = find_faults(line_buffer)
    chosen = choose(faults, 24, 1)
    assert chosen == choose(faults, 24, 1) != choose(faults, 24, 2)
    kinds = Counter(fault.kind for fault in chosen)
    assert set(kinds) == set(KINDS) and kinds["condition"] == 2, "there are but two"
    assert max(kinds.values()) - min(count for kind, count in kinds.items() if kind != "condition") <= 1
    assert len({fault.line for fault in chosen}) == 24
    assert min(Counter(fault.module for fault in chosen).values()) >= 5, "of three modules"
    assert len(choose(faults, 4000, 1)) < len(faults), "faults of one line exclude each other"


@pytest.fixture(scope="module")
def resize():
    """Four elements to one: the shift's amount, 0, 8, 16 or 24, never needs the sixth bit that it has."""
    text = sound_text(Resize(8, 4, 1))
    return plant(text, choose(find_faults(text), 12, 1))


def test_without_a_fault_the_planted_design_is_the_sound_one(resize):
    assert r"\fault" in resize.text
    assert equivalent(resize.sound, resize.with_fault(0))


def test_a_fault_that_changes_nothing_is_proven_equal_and_others_are_not(resize):
    found = {
        fault.what: equivalent(resize.sound, resize.with_fault(number))
        for number, fault in enumerate(resize.faults, 1)
        if fault.source.startswith("stream.py")
    }
    assert found["a part loses the top of its 6 bits"]
    assert not found["and becomes or in i__ready"]


def test_a_fault_that_nobody_can_see_is_told_from_one_that_shows():
    """What an answer says matters only while it is offered: data may stay over a reset, flags may not."""
    text = sound_text(AxiLiteSlave(2))
    wanted = {f"s_axil_{name} is not reset" for name in ("rdata", "bresp", "rvalid")}
    planted = plant(text, [fault for fault in find_faults(text) if fault.what in wanted])
    seen = {
        fault.what.split()[0]: not looks_the_same(planted.sound, planted.with_fault(number))
        for number, fault in enumerate(planted.faults, 1)
    }
    assert looks_the_same(planted.sound, planted.with_fault(0))
    assert seen == {"s_axil_rdata": False, "s_axil_bresp": False, "s_axil_rvalid": True}


def test_only_a_module_with_outputs_is_looked_at():
    with pytest.raises(ConfigurationError, match="outputs to compare"):
        ports_of("module \\top\n  wire width 2 input 0 \\a\nend\n", "top")
    assert ports_of("module \\top\n  wire width 2 output 0  \\a\nend\n", "top") == {"a": (2, "output")}


class Counting(wiring.Component):
    """A register behind an enable, counted from 5; it lies in this file, which is not the hardware's."""

    def __init__(self):
        super().__init__({"enable": In(1), "count": Out(4)})

    def elaborate(self, platform):
        m = Module()
        count = Signal(4, init=5)
        with m.If(self.enable):
            m.d.sync += count.eq(count + 1)
        m.d.comb += self.count.eq(count)
        return m


def test_faults_are_those_of_the_hardware_s_sources_alone(monkeypatch):
    text = sound_text(Counting())
    assert find_faults(text) == []
    monkeypatch.setattr("quietbar_hw.mutation.netlist.SOURCES", "tests/hw/")
    assert {fault.what for fault in find_faults(text)} == {
        "1 becomes 0 in a part", "count loses the top of its 4 bits in a part", "add becomes sub in a part",
        "a part loses the top of its 5 bits", "count changes in every cycle", "count is not reset",
        "count is reset to 4 instead of 5",
    }  # fmt: skip


def test_what_cannot_be_planted_is_refused(resize):
    faults = find_faults(resize.sound)
    same = [fault for fault in faults if fault.line == faults[0].line]
    with pytest.raises(ConfigurationError, match="faults"):
        plant(resize.sound, [*same, same[0]])
    with pytest.raises(ConfigurationError, match="faults = 0: must be at least one"):
        plant(resize.sound, [])
    with pytest.raises(ConfigurationError, match="fault = 13"):
        resize.with_fault(13)
