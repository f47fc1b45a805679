"""Every component that drives a stream, small, for the proof that it keeps the stream rules."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from amaranth.hdl import Assert, Assume, Module, Signal, Value
from amaranth.lib import wiring

import quietbar_hw
from quietbar.contract import BlockConfig, CrossbarConfig, IntegerFormat, Stage
from quietbar.contract.engine import EngineConfig
from quietbar.contract.sources import SourceConfig
from quietbar.contract.tile_network import LayerConfig, TileNetworkConfig

from ... import stream
from ...board import bridge, packets, uart
from ...conv import line_buffer, matrix_vector, replay
from ...crossbar import (
    column_sum,
    controlled,
    controlled_top,
    converter,
    frame_writer,
    image_stages,
    mixed,
    network,
    partial_sums,
    tile,
    top,
)
from ...crossbar import configuration as crossbar_configuration
from ...crossbar import replay as crossbar_replay
from ...crossbar.folding import CrossbarFolding
from ...denoiser import block as denoising_block
from ...denoiser import subtract
from ...denoiser import top as denoiser_top
from ...denoiser.folding import Folding
from ...engine import core, frames, framing, heads, reduce, slots, spatial
from ...engine import top as engine_top
from ...gaussian import inverse_cdf, source
from ...gaussian import top as gaussian_top
from ...register_slice import RegisterSlice
from ...registers import axi_lite, bank
from ...registers import crossbar as crossbar_registers
from ...registers import engine as engine_registers
from ...registers.model import Field, Register, RegisterMap, Window
from ..rules import Role
from ..surroundings import Beside, Drops, Surrounded
from .property import Property

TWO_BITS, FOUR_BITS = IntegerFormat(2, False), IntegerFormat(4, True)
STAGE = Stage("reduce", 2, 2, TWO_BITS, FOUR_BITS)
TILE, TILE_FOLDING = CrossbarConfig(2, 2, dac_bits=2, adc_bits=2), CrossbarFolding(1, 1, 1, 1)
LAYER = LayerConfig(2, 2, 1, CrossbarConfig(9, 1, output="unsigned"))
NETWORK = TileNetworkConfig((LAYER,), CrossbarConfig(1, 2))
BLOCK = BlockConfig(2, 1, 2, 2, mode="sampling", signed=True)
ENGINE = EngineConfig(2, 2, 1, 2, 2, 2, 2, 2, 4, 4, 4, 4, noise=True)
REGISTERS = RegisterMap(
    name="small",
    registers=(
        Register("setting", 0, 32, (Field("value", 0, 2, output=True),)),
        Register("events", 4, 32, (Field("bits", 0, 2, on_write="one_clears", set_by_hardware=True, interrupt=True),)),
    ),
    windows=(Window("memory", 16, 2),),
)


def launches_where_there_is_room(m: Module, part: Any) -> None:
    """The surroundings of a `ResultQueue`: launches only into room, and no more results than were launched."""
    owed = Signal(range(part.depth + 1))
    m.d.sync += owed.eq(owed + part.launch - part.arrivals.valid)
    m.d.comb += [
        Assume(part.room | ~part.launch),
        Assume(part.count == 1),
        Assume((owed != 0) | ~part.arrivals.valid),
    ]


def _seeding(part: Any) -> Value:
    """A new seed drops what is offered."""
    return part.load.valid & part.load.payload.first


QUEUES_OPEN: Mapping[type, Drops] = {stream.Queue: {}}
TILE_OPEN: Mapping[type, Drops] = {tile.Crossbar: {"codes": lambda part: part.restart}}

PRODUCTS = ("top/t:$mul",)
"""What multipliers compute: no rule of a stream depends on it."""


def waited(m: Module, write: Any) -> Signal:
    """A write is there that was there in the cycle before."""
    found = Signal()
    m.d.sync += found.eq(write.valid & ~write.ready)
    return found


def writes_one_by_one(m: Module, part: Any, role: Role = "assume") -> None:
    """The surroundings of a `FrameWriter`: permission and restarts come by the port of the writes, so not while one
    waits.
    """
    say, waits, allowed = Assert if role == "assert" else Assume, waited(m, part.write), Signal()
    m.d.sync += allowed.eq(part.allowed)
    m.d.comb += [say(~waits | ~allowed | part.allowed), say(~waits | ~part.abandon)]


def controls_one_by_one(m: Module, part: Any) -> None:
    """What `FrameWriter` is promised: while a write waits, the registers neither let vectors begin nor restart."""
    waits, run = waited(m, part.control.write), Signal()
    m.d.sync += run.eq(part.control.run)
    m.d.comb += [Assert(~waits | run | ~part.control.run), Assert(~waits | ~part.control.restart)]


def answers_follow_requests(m: Module, part: Any) -> None:
    """The surroundings of a `Bridge`: no response comes before its request, as `axi4-lite/...` proves."""
    for requests, answer in ((("aw", "w"), "b"), (("ar",), "r")):
        answered = part.axil_bvalid & part.axil_bready if answer == "b" else part.axil_rvalid & part.axil_rready
        for channel in requests:
            taken = getattr(part, f"axil_{channel}valid") & getattr(part, f"axil_{channel}ready")
            owed = Signal(2, name=f"{channel}_owed")
            m.d.sync += owed.eq(owed + taken - answered)
            m.d.comb += Assume((owed != 0) | ~getattr(part, f"axil_{answer}valid"))


def _clearing(part: Any) -> Value:
    """Beats that wait for the engine are thrown away when the host says so."""
    return part.clearing


@dataclass(frozen=True)
class Streams:
    """A component and how the rules of its streams are proven.

    Attributes:
        make: builds it, small.
        beside: what its surroundings do beyond keeping the stream rules.
        open: parts inside that are left open: they keep the rules, as their own proofs say.
        drops: by port, when what is offered may be dropped: with a restart or a new seed, as their documentation says.
    """

    make: Callable[[], Any]
    beside: Beside | None = None
    open: Mapping[type, Drops] = field(default_factory=dict)
    drops: Drops = field(default_factory=dict)


COMPONENTS: dict[type, Streams] = {
    RegisterSlice: Streams(lambda: RegisterSlice(2)),
    stream.Queue: Streams(lambda: stream.Queue(2, 3)),
    stream.ResultQueue: Streams(lambda: stream.ResultQueue(2, 3), launches_where_there_is_room),
    stream.Resize: Streams(lambda: stream.Resize(2, 1, 3)),
    stream.Fork: Streams(lambda: stream.Fork(2, 3)),
    packets.PacketReceiver: Streams(lambda: packets.PacketReceiver(2)),
    packets.PacketSender: Streams(packets.PacketSender),
    bridge.Bridge: Streams(
        lambda: bridge.Bridge(ENGINE, 4), answers_follow_requests, open=QUEUES_OPEN, drops={"beats": _clearing}
    ),
    line_buffer.LineBuffer: Streams(lambda: line_buffer.LineBuffer(2, 2, 1, 1, IntegerFormat(1, False))),
    matrix_vector.MatrixVectorUnit: Streams(lambda: matrix_vector.MatrixVectorUnit(STAGE, 1, 1), open=QUEUES_OPEN),
    replay.Replay: Streams(lambda: replay.Replay(2, 2, 2)),
    crossbar_configuration.Configuration: Streams(lambda: crossbar_configuration.Configuration(TILE)),
    frame_writer.FrameWriter: Streams(lambda: frame_writer.FrameWriter(TILE), writes_one_by_one),
    column_sum.ColumnSum: Streams(lambda: column_sum.ColumnSum(TILE, TILE_FOLDING)),
    converter.Converter: Streams(lambda: converter.Converter(TILE)),
    image_stages.Windows: Streams(lambda: image_stages.Windows(LAYER)),
    image_stages.ChannelMeans: Streams(lambda: image_stages.ChannelMeans(NETWORK)),
    image_stages.HighestScore: Streams(lambda: image_stages.HighestScore(NETWORK.head)),
    partial_sums.PartialSums: Streams(lambda: partial_sums.PartialSums(TILE)),
    partial_sums.Scaler: Streams(lambda: partial_sums.Scaler(LAYER.crossbar)),
    crossbar_replay.Replay: Streams(lambda: crossbar_replay.Replay(TILE, TILE_FOLDING)),
    tile.Crossbar: Streams(lambda: tile.Crossbar(TILE, TILE_FOLDING), drops=TILE_OPEN[tile.Crossbar]),
    controlled.ControlledCrossbar: Streams(
        lambda: controlled.ControlledCrossbar(TILE, TILE_FOLDING),
        open=TILE_OPEN,
        drops={"codes": lambda part: part.control.restart},
    ),
    controlled_top.AxiLiteCrossbar: Streams(
        lambda: controlled_top.AxiLiteCrossbar(TILE, TILE_FOLDING),
        open=TILE_OPEN,
        drops={"m_axis_t": lambda part: part.tiles.control.restart},
    ),
    top.AxiCrossbar: Streams(lambda: top.AxiCrossbar(TILE, TILE_FOLDING)),
    mixed.MixedSignalLayer: Streams(
        lambda: mixed.MixedSignalLayer(
            CrossbarConfig(9, 2), BLOCK, CrossbarFolding(), Folding.choose(BLOCK, 1, cycles_per_pixel=9)
        )
    ),
    network.TileNetwork: Streams(lambda: network.TileNetwork(NETWORK, network.NetworkFolding.choose(NETWORK))),
    subtract.Subtract: Streams(lambda: subtract.Subtract(BLOCK, 1), open=QUEUES_OPEN),
    denoising_block.DenoisingBlock: Streams(
        lambda: denoising_block.DenoisingBlock(BLOCK, Folding.choose(BLOCK, 1)), open=QUEUES_OPEN
    ),
    denoiser_top.AxiDenoiser: Streams(
        lambda: denoiser_top.AxiDenoiser(BLOCK, Folding.choose(BLOCK, 1)), open=QUEUES_OPEN
    ),
    frames.FrameQueue: Streams(lambda: frames.FrameQueue(2)),
    framing.Framing: Streams(lambda: framing.Framing(ENGINE)),
    reduce.Reduce: Streams(lambda: reduce.Reduce(ENGINE), open=QUEUES_OPEN),
    spatial.Spatial: Streams(lambda: spatial.Spatial(ENGINE), open=QUEUES_OPEN),
    heads.Heads: Streams(lambda: heads.Heads(ENGINE), open=QUEUES_OPEN),
    slots.Gather: Streams(lambda: slots.Gather(2, 2)),
    core.EngineCore: Streams(
        lambda: core.EngineCore(ENGINE), open=QUEUES_OPEN, drops={"o": lambda part: part.control.restart}
    ),
    engine_top.AxiEngine: Streams(
        lambda: engine_top.AxiEngine(ENGINE),
        open=QUEUES_OPEN,
        drops={"m_axis_t": lambda part: part.core.control.restart},
    ),
    source.GaussianSource: Streams(lambda: source.GaussianSource(1), open=QUEUES_OPEN, drops={"samples": _seeding}),
    inverse_cdf.InverseCdfSource: Streams(
        lambda: inverse_cdf.InverseCdfSource(1), open=QUEUES_OPEN, drops={"samples": _seeding}
    ),
    gaussian_top.AxiGaussianSource: Streams(lambda: gaussian_top.AxiGaussianSource(SourceConfig("box-muller", 2))),
    axi_lite.AxiLiteSlave: Streams(lambda: axi_lite.AxiLiteSlave(3)),
    bank.RegisterBank: Streams(lambda: bank.RegisterBank(REGISTERS)),
    crossbar_registers.CrossbarRegisters: Streams(
        lambda: crossbar_registers.CrossbarRegisters(TILE, TILE_FOLDING), controls_one_by_one
    ),
    engine_registers.EngineRegisters: Streams(lambda: engine_registers.EngineRegisters(ENGINE)),
}
"""By class. A component with a stream that goes out and no entry here, nor in `NEVER_WAIT`, fails a test."""


def hardware_components() -> Iterator[type]:
    """Every component class of quietbar's hardware; those of this package, which watch it, are none."""
    for module in pkgutil.walk_packages(quietbar_hw.__path__, "quietbar_hw."):
        if module.name.startswith("quietbar_hw.formal"):
            continue
        for each in vars(importlib.import_module(module.name)).values():
            if inspect.isclass(each) and issubclass(each, wiring.Component) and each.__module__ == module.name:
                yield each


NEVER_WAIT = {uart.UartReceiver}
"""Components whose streams have takers that are always ready: no rule is left to keep."""

LARGE = {
    image_stages.Windows,
    image_stages.ChannelMeans,
    mixed.MixedSignalLayer,
    network.TileNetwork,
    tile.Crossbar,
    top.AxiCrossbar,
    denoising_block.DenoisingBlock,
    denoiser_top.AxiDenoiser,
    core.EngineCore,
    engine_top.AxiEngine,
    bridge.Bridge,
    controlled_top.AxiLiteCrossbar,
    inverse_cdf.InverseCdfSource,
    gaussian_top.AxiGaussianSource,
}
"""Those whose proofs take more than a second: left out of ``make test``."""


def _property(component: type, streams: Streams) -> Property:
    part = component.__module__.removeprefix("quietbar_hw.").rpartition(".")[0]
    within = f"{part} " if part else ""
    return Property(
        f"streams/{within}{component.__name__}",
        "what is offered is offered unchanged until it is taken",
        lambda: Surrounded(streams.make(), streams.beside, drops=streams.drops),
        free=PRODUCTS,
        open=streams.open,
        fast=component not in LARGE,
    )


STREAMS = tuple(_property(component, streams) for component, streams in COMPONENTS.items())
