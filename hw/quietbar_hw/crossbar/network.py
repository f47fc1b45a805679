"""A whole network in hardware: images in, classes out, every layer on tiles of its own."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from amaranth.hdl import Cat, Module, Mux, Signal, Value
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from quietbar.contract import UINT8
from quietbar.contract.block import WINDOW
from quietbar.contract.errors import require
from quietbar.contract.stream import CONFIGURATION_WORD_BITS
from quietbar.contract.tile_network import PART_SHIFT, TileNetworkConfig

from ..counting import Loop, step_through
from ..denoiser.folding import Folding
from ..denoiser.top import AxiDenoiser
from .folding import CrossbarFolding
from .image_stages import ChannelMeans, HighestScore, Windows
from .top import AxiCrossbar


@dataclass(frozen=True)
class NetworkFolding:
    """The parallelism of a network's parts.

    Attributes:
        layers: of each layer's tiles; nine input lanes, one output lane.
        head: of the head's tiles; one lane at both ends.
    """

    layers: tuple[CrossbarFolding, ...]
    head: CrossbarFolding

    @classmethod
    def choose(cls, config: TileNetworkConfig) -> NetworkFolding:
        """All rows of a tile at once, columns one by one: the converter is never waited for."""
        layers = tuple(CrossbarFolding(WINDOW, 1, layer.crossbar.rows) for layer in config.layers)
        return cls(layers, CrossbarFolding(1, 1, config.head.rows))

    def to_dict(self) -> dict[str, Any]:
        """The fields as plain values, for manifests."""
        return asdict(self)

    def check(self, config: TileNetworkConfig) -> None:
        """Refuse a folding that does not fit the network; the field is named."""
        require(len(self.layers) == len(config.layers), "folding.layers", len(self.layers), f"{len(config.layers)}")
        for number, (folding, layer) in enumerate(zip(self.layers, config.layers, strict=True)):
            lanes = folding.input_lanes, folding.output_lanes
            require(lanes == (WINDOW, 1), f"folding.layers[{number}]", lanes, f"{WINDOW} input lanes, 1 output lane")
            folding.check(layer.crossbar)
        lanes = self.head.input_lanes, self.head.output_lanes
        require(lanes == (1, 1), "folding.head", lanes, "1 input lane, 1 output lane")
        self.head.check(config.head)


class TileNetwork(wiring.Component):
    """Equal to :class:`quietbar.integer.tile_network.TileNetwork`, to the bit.

    Data in: images of eight-bit elements, one to a beat, channel-last raster order, ``tlast`` on an image's last. Data
    out: the class of each image, one to a beat, each with ``tlast``. Configuration: frames of the parts, addressed as
    :mod:`quietbar.contract.tile_network` says. An image whose ``tlast`` comes early or not at all stops the input until
    reset, and sets a bit of ``error``.

    Members (with ``clk`` and ``rst``, the ports of the Verilog):
        s_axis_..., m_axis_..., s_axis_cfg_...: the streams.
        error: Out, for each part in order its error bits; above them one for the length of images, and one for
            configuration frames to a part that is not there.
    """

    def __init__(self, config: TileNetworkConfig, folding: NetworkFolding) -> None:
        folding.check(config)
        self.config, self.folding = config, folding
        self.parts: dict[int, Any] = {}
        for number, (layer, tiles) in enumerate(zip(config.layers, folding.layers, strict=True)):
            self.parts[2 * number] = AxiCrossbar(layer.crossbar, tiles)
            if layer.block is not None:
                self.parts[2 * number + 1] = AxiDenoiser(layer.block, Folding.choose(layer.block, 1))
        self.parts[2 * len(config.layers)] = AxiCrossbar(config.head, folding.head)
        errors = sum(len(part.error) for part in self.parts.values())
        super().__init__(
            {
                "s_axis_tdata": In(UINT8.bits),
                "s_axis_tvalid": In(1),
                "s_axis_tready": Out(1),
                "s_axis_tlast": In(1),
                "m_axis_tdata": Out(UINT8.bits),
                "m_axis_tvalid": Out(1),
                "m_axis_tready": In(1),
                "m_axis_tlast": Out(1),
                "s_axis_cfg_tdata": In(CONFIGURATION_WORD_BITS),
                "s_axis_cfg_tvalid": In(1),
                "s_axis_cfg_tready": Out(1),
                "s_axis_cfg_tlast": In(1),
                "error": Out(errors + 2),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        for number, part in self.parts.items():
            m.submodules[f"part_{number}"] = part
        wrong_length, wrong_part = self._take_images(m), self._route_configuration(m)
        m.d.comb += self.error.eq(Cat(*(part.error for part in self.parts.values()), wrong_length, wrong_part))
        return m

    def _take_images(self, m: Module) -> Value:
        """From the input through layer after layer to the class; the bit that says that an image was ill-framed."""
        element, halted = Loop("element", self.config.image_elements), Signal()
        well_ended = self.s_axis_tlast == element.at_end
        with m.If(self.s_axis_tvalid & ~well_ended):
            m.d.sync += halted.eq(1)
        flows = well_ended & ~halted
        step_through(m, self.s_axis_tvalid & self.s_axis_tready, element)

        payload, valid, ready = self.s_axis_tdata, self.s_axis_tvalid & flows, Signal()
        m.d.comb += self.s_axis_tready.eq(ready & flows)
        for number, layer in enumerate(self.config.layers):
            m.submodules[f"windows_{number}"] = windows = Windows(layer)
            tiles = self.parts[2 * number]
            m.d.comb += [
                windows.i.payload.eq(payload),
                windows.i.valid.eq(valid),
                ready.eq(windows.i.ready),
                tiles.s_axis_tdata.eq(Value.cast(windows.o.p.codes)),
                tiles.s_axis_tlast.eq(windows.o.p.last),
                tiles.s_axis_tvalid.eq(windows.o.valid),
                windows.o.ready.eq(tiles.s_axis_tready),
            ]
            end = tiles
            if layer.block is not None:
                end = self.parts[2 * number + 1]
                m.d.comb += [
                    end.s_axis_tdata.eq(tiles.m_axis_tdata),
                    end.s_axis_tlast.eq(tiles.m_axis_tlast),
                    end.s_axis_tvalid.eq(tiles.m_axis_tvalid),
                    tiles.m_axis_tready.eq(end.s_axis_tready),
                ]
            payload, valid, ready = end.m_axis_tdata, end.m_axis_tvalid, end.m_axis_tready

        m.submodules.means = means = ChannelMeans(self.config)
        m.submodules.highest = highest = HighestScore(self.config.head)
        head = self.parts[2 * len(self.config.layers)]
        m.d.comb += [
            means.i.payload.eq(payload),
            means.i.valid.eq(valid),
            ready.eq(means.i.ready),
            head.s_axis_tdata.eq(means.o.p.code),
            head.s_axis_tlast.eq(means.o.p.last),
            head.s_axis_tvalid.eq(means.o.valid),
            means.o.ready.eq(head.s_axis_tready),
            highest.i.p.code.eq(head.m_axis_tdata),
            highest.i.p.last.eq(head.m_axis_tlast),
            highest.i.valid.eq(head.m_axis_tvalid),
            head.m_axis_tready.eq(highest.i.ready),
            self.m_axis_tdata.eq(highest.o.payload),
            self.m_axis_tvalid.eq(highest.o.valid),
            self.m_axis_tlast.eq(1),
            highest.o.ready.eq(self.m_axis_tready),
        ]
        return halted

    def _route_configuration(self, m: Module) -> Value:
        """Frames go where their first words say; the bit that says that one went nowhere."""
        first, kept, wrong = Signal(init=1), Signal(CONFIGURATION_WORD_BITS - PART_SHIFT), Signal()
        address = Mux(first, self.s_axis_cfg_tdata[PART_SHIFT:], kept)
        word = Mux(first, self.s_axis_cfg_tdata[:PART_SHIFT], self.s_axis_cfg_tdata)
        with m.Switch(address):
            for number, part in self.parts.items():
                with m.Case(number):
                    m.d.comb += [
                        part.s_axis_cfg_tvalid.eq(self.s_axis_cfg_tvalid),
                        self.s_axis_cfg_tready.eq(part.s_axis_cfg_tready),
                    ]
            with m.Default():
                m.d.comb += self.s_axis_cfg_tready.eq(1)
                with m.If(self.s_axis_cfg_tvalid):
                    m.d.sync += wrong.eq(1)
        for part in self.parts.values():
            m.d.comb += [part.s_axis_cfg_tdata.eq(word), part.s_axis_cfg_tlast.eq(self.s_axis_cfg_tlast)]
        with m.If(self.s_axis_cfg_tvalid & self.s_axis_cfg_tready):
            m.d.sync += [first.eq(self.s_axis_cfg_tlast), kept.eq(address)]
        return wrong
