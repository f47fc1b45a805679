"""Single components of the hardware as tops with stream ports, several side by side in one simulator.

Each part has streams ``s_axis``, ``s_axis_cfg`` and ``m_axis`` (those it needs). :class:`Parts` puts a prefix before
them, one for each part, so that one build serves the benches of all.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from amaranth.hdl import Cat, Module, Signal, Value
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from quietbar.contract import IntegerFormat
from quietbar.contract.requantize import MULTIPLIER_BITS, SHIFT_BITS
from quietbar.contract.stream import CONFIGURATION_WORD_BITS
from quietbar_hw.arithmetic import Requantizer
from quietbar_hw.gaussian import GaussianSource
from quietbar_hw.stream import ResultQueue


def input_stream(name: str, bits: int) -> dict[str, Any]:
    """Members of a stream into a component, with ``tlast``."""
    return {f"{name}_tdata": In(bits), f"{name}_tvalid": In(1), f"{name}_tready": Out(1), f"{name}_tlast": In(1)}


def output_stream(name: str, bits: int) -> dict[str, Any]:
    """Members of a stream out of a component, without ``tlast``."""
    return {f"{name}_tdata": Out(bits), f"{name}_tvalid": Out(1), f"{name}_tready": In(1)}


class RequantizerPart(wiring.Component):
    """The requantiser made elastic. ``s_axis`` carries accumulator, multiplier and shift, the accumulator lowest."""

    def __init__(self, accumulator: IntegerFormat, target: IntegerFormat) -> None:
        self.accumulator, self.target = accumulator, target
        bits = accumulator.bits + MULTIPLIER_BITS + SHIFT_BITS
        super().__init__({**input_stream("s_axis", bits), **output_stream("m_axis", target.bits)})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.requantizer = requantizer = Requantizer(self.accumulator, self.target)
        depth = ResultQueue.credit(Requantizer.LATENCY)
        m.submodules.results = results = ResultQueue(requantizer.value.shape(), depth)
        launched = self.s_axis_tvalid & results.room
        m.d.comb += [
            Cat(requantizer.accumulator, requantizer.multiplier, requantizer.shift).eq(self.s_axis_tdata),
            results.launch.eq(launched),
            self.s_axis_tready.eq(results.room),
            results.arrivals.payload.eq(requantizer.value),
            self.m_axis_tdata.eq(results.o.payload),
            self.m_axis_tvalid.eq(results.o.valid),
            results.o.ready.eq(self.m_axis_tready),
        ]
        arriving = Signal(Requantizer.LATENCY)
        m.d.sync += arriving.eq(Cat(launched, arriving))
        m.d.comb += results.arrivals.valid.eq(arriving[-1])
        return m


class GaussianPart(wiring.Component):
    """The Gaussian source. ``s_axis_cfg`` takes SEED frames, ``m_axis`` gives ``2 * lanes`` samples a beat."""

    def __init__(self, lanes: int) -> None:
        self.lanes = lanes
        self.source = GaussianSource(lanes)
        bits = len(Value.cast(self.source.samples.payload))
        super().__init__({**input_stream("s_axis_cfg", CONFIGURATION_WORD_BITS), **output_stream("m_axis", bits)})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.source = source = self.source
        # The first word of a frame is its kind; the one behind it begins the image.
        kind, first = Signal(init=1), Signal()
        with m.If(self.s_axis_cfg_tvalid):
            m.d.sync += [kind.eq(self.s_axis_cfg_tlast), first.eq(kind)]
        m.d.comb += [
            self.s_axis_cfg_tready.eq(1),
            source.load.valid.eq(self.s_axis_cfg_tvalid & ~kind),
            source.load.payload.word.eq(self.s_axis_cfg_tdata),
            source.load.payload.first.eq(first),
            self.m_axis_tdata.eq(source.samples.payload),
            self.m_axis_tvalid.eq(source.samples.valid),
            source.samples.ready.eq(self.m_axis_tready),
        ]
        return m


class Parts(wiring.Component):
    """Parts side by side: the ports of part ``name`` are called ``name_s_axis_tdata`` and so on."""

    def __init__(self, parts: Mapping[str, wiring.Component]) -> None:
        self.parts = dict(parts)
        super().__init__(
            {
                f"{name}_{port}": member
                for name, part in parts.items()
                for port, member in part.signature.members.items()
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        for name, part in self.parts.items():
            m.submodules[name] = part
            for port, member in part.signature.members.items():
                inside, outside = getattr(part, port), getattr(self, f"{name}_{port}")
                m.d.comb += inside.eq(outside) if member.flow is In else outside.eq(inside)
        return m
