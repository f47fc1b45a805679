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

from quietbar.contract import BlockConfig, IntegerFormat
from quietbar.contract.block import HIDDEN
from quietbar.contract.requantize import MULTIPLIER_BITS, SHIFT_BITS
from quietbar.contract.stream import CONFIGURATION_WORD_BITS
from quietbar_hw.arithmetic import Requantizer, shape_of
from quietbar_hw.conv import LineBuffer, MatrixVectorUnit
from quietbar_hw.conv.folding import StageFolding
from quietbar_hw.gaussian import GaussianSource
from quietbar_hw.stream import Resize, ResultQueue


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


class StreamPart(wiring.Component):
    """A component from stream ``i`` to stream ``o``, which become ``s_axis`` and ``m_axis``."""

    def __init__(self, inner: Any) -> None:
        self.inner = inner
        bits = {name: len(Value.cast(getattr(inner, name).payload)) for name in ("i", "o")}
        super().__init__({**input_stream("s_axis", bits["i"]), **output_stream("m_axis", bits["o"])})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.inner = inner = self.inner
        m.d.comb += [
            Value.cast(inner.i.payload).eq(self.s_axis_tdata),
            inner.i.valid.eq(self.s_axis_tvalid),
            self.s_axis_tready.eq(inner.i.ready),
            self.m_axis_tdata.eq(inner.o.payload),
            self.m_axis_tvalid.eq(inner.o.valid),
            inner.o.ready.eq(self.m_axis_tready),
        ]
        return m


def connect_load(m: Module, part: Any, load: Any) -> None:
    """Hand the words of configuration frames to a component's ``load``, but for the first of a frame, its kind."""
    kind, first = Signal(init=1), Signal()
    with m.If(part.s_axis_cfg_tvalid):
        m.d.sync += [kind.eq(part.s_axis_cfg_tlast), first.eq(kind)]
    m.d.comb += [
        part.s_axis_cfg_tready.eq(1),
        load.valid.eq(part.s_axis_cfg_tvalid & ~kind),
        load.payload.word.eq(part.s_axis_cfg_tdata),
        load.payload.first.eq(first),
    ]


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
        connect_load(m, self, source.load)
        m.d.comb += [
            self.m_axis_tdata.eq(source.samples.payload),
            self.m_axis_tvalid.eq(source.samples.valid),
            source.samples.ready.eq(self.m_axis_tready),
        ]
        return m


def core_lanes(config: BlockConfig, folding: StageFolding) -> tuple[int, int]:
    """Channels to an input beat and to an output beat of a :class:`CorePart`."""
    group = config.hidden if config.kernel == "dense" else folding.pe
    return group, folding.requantizers(config.stage("spatial"))


class CorePart(wiring.Component):
    """The 3x3 core of a block: line buffer and matrix-vector unit, as they stand in the block.

    ``s_axis`` takes the hidden activations of frames, ``m_axis`` gives them convolved, ``s_axis_cfg`` takes the stage's
    parameters behind a word for the kind of frame.
    """

    def __init__(self, config: BlockConfig, folding: StageFolding) -> None:
        self.config, self.folding, self.stage = config, folding, config.stage("spatial")
        self.group, outputs = core_lanes(config, folding)
        super().__init__(
            {
                **input_stream("s_axis", self.group * HIDDEN.bits),
                **input_stream("s_axis_cfg", CONFIGURATION_WORD_BITS),
                **output_stream("m_axis", outputs * HIDDEN.bits),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        config = self.config
        m.submodules.lines = lines = LineBuffer(config.height, config.width, config.hidden, self.group, HIDDEN)
        m.submodules.unit = unit = MatrixVectorUnit(self.stage, self.folding.simd, self.folding.pe)
        connect_load(m, self, unit.load)
        before, after = lines.o.payload.shape().length, unit.i.payload.shape().length
        m.submodules.resize = resize = Resize(shape_of(HIDDEN), before, after)
        wiring.connect(m, lines.o, resize.i)
        wiring.connect(m, resize.o, unit.i)
        m.d.comb += [
            Value.cast(lines.i.payload).eq(self.s_axis_tdata),
            lines.i.valid.eq(self.s_axis_tvalid),
            self.s_axis_tready.eq(lines.i.ready),
            self.m_axis_tdata.eq(unit.o.payload),
            self.m_axis_tvalid.eq(unit.o.valid),
            unit.o.ready.eq(self.m_axis_tready),
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
