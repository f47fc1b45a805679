"""Proofs of stream components for ever, by induction, and the planted faults that break them."""

import pytest
from amaranth.hdl import Module, Value
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from quietbar.contract import ConfigurationError
from quietbar_cosim.planting import planted
from quietbar_hw.formal import OrderedContents, Patience, StreamRules, prove
from quietbar_hw.register_slice import RegisterSlice
from quietbar_hw.stream import Resize


class Proof(wiring.Component):
    """A component between streams of plain bits, whose surroundings keep the rules that it is held to."""

    def __init__(self, part, bits_in, bits_out, capacity=None):
        self.part, self.capacity = part, capacity
        super().__init__({"i": In(stream.Signature(bits_in)), "o": Out(stream.Signature(bits_out))})

    def elaborate(self, platform):
        m = Module()
        m.submodules.part = part = self.part
        m.d.comb += [
            Value.cast(part.i.payload).eq(self.i.payload),
            part.i.valid.eq(self.i.valid),
            self.i.ready.eq(part.i.ready),
            self.o.payload.eq(Value.cast(part.o.payload)),
            self.o.valid.eq(part.o.valid),
            part.o.ready.eq(self.o.ready),
        ]
        StreamRules.watch(m, self.i, "rules_in", "assume")
        StreamRules.watch(m, self.o, "rules_out")
        if self.capacity:
            OrderedContents.watch(m, self.i, self.o, self.capacity)
            Patience.watch(m, self.o, "patience", 2)
        return m


def test_a_slice_keeps_order_and_rules_for_ever_behind_stalls_of_two_cycles():
    assert prove(Proof(RegisterSlice(2), 2, 2, capacity=2), "induction", 12).holds


@pytest.mark.parametrize(("before", "after"), [(4, 1), (1, 4)])
def test_resizing_keeps_the_rules_for_ever(before, after):
    assert prove(Proof(Resize(2, before, after), 2 * before, 2 * after), "induction", 4).holds


def test_a_slice_that_holds_less_than_it_takes_is_caught_with_a_trace():
    verdict = prove(Proof(RegisterSlice(2), 2, 2, capacity=1), "induction", 12)
    assert not verdict.holds
    assert "Time Signal Name" in verdict.trace


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("leaving = self.o.ready | ~offering", "leaving = self.o.ready | self.i.valid | ~offering"),
        ("Mux(holding, spare, entering)", "Mux(holding, entering, spare)"),
        ("self.i.ready.eq(~holding)", "self.i.ready.eq(1)"),
    ],
)
def test_faults_of_a_slice_are_caught(old, new):
    with planted(RegisterSlice, "elaborate", old, new):
        assert not prove(Proof(RegisterSlice(2), 2, 2, capacity=2), "bounded", 8).holds


def test_an_unknown_method_is_refused():
    with pytest.raises(ConfigurationError, match="method = 'hope'"):
        prove(RegisterSlice(2), "hope", 4)  # refused before anything is elaborated
