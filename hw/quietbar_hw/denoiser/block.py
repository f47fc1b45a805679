"""The denoising block: all of it but the AXI wrapper."""

from __future__ import annotations

from typing import Any

from amaranth.hdl import Cat, Module, ResetInserter, Value
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from quietbar.contract import BlockConfig
from quietbar.contract.block import HIDDEN

from ..arithmetic import shape_of
from ..conv import LineBuffer, MatrixVectorUnit
from ..gaussian import GaussianSource
from ..stream import LOAD, Fork, Queue, Resize
from .folding import Folding
from .subtract import Subtract, subtract_capacity
from .timing import skip_depth


class DenoisingBlock(wiring.Component):
    """A block of :class:`quietbar.contract.BlockConfig` as a pipeline over the elements of back-to-back frames::

                +-> reduce -> line buffer -> spatial -+-> mean ---------+
        i --> fork                                    +-> log_sigma ----+-> subtract --> o
                |                            noise source --------------+
                +-> skip queue -----------------------------------------+

    Between the parts, streams are resized where the foldings differ. The skip queue holds what the path through the
    line buffer has in flight at full speed, so it neither throttles nor, all the more, deadlocks.

    Timing: see :mod:`quietbar_hw.denoiser.timing`.

    Members:
        i: In(stream of ``lanes`` activations), stream order of the contract.
        o: Out(stream of ``lanes`` activations).
        load_reduce, load_spatial, load_mean, load_log_sigma: In, the stages' parameters.
        load_noise: In, the words of a seed (sampling mode).
        refused: Out(1), pulses for a parameter outside its format, or a seed that is none.
    """

    def __init__(self, config: BlockConfig, folding: Folding) -> None:
        folding.check(config)
        self.config, self.folding = config, folding
        self.sampling = config.mode == "sampling"
        self.skip_depth = skip_depth(config, folding)
        activations = data.ArrayLayout(shape_of(config.activation), folding.lanes)
        self.loads = tuple(stage.name for stage in config.stages) + (("noise",) if self.sampling else ())
        super().__init__(
            {
                "i": In(stream.Signature(activations)),
                "o": Out(stream.Signature(activations)),
                **{f"load_{name}": In(LOAD) for name in self.loads},
                "refused": Out(1),
            }
        )

    @property
    def capacity(self) -> int:
        """Transfers that can have gone in and not come out."""
        return self.skip_depth + subtract_capacity(self.config)

    def elaborate(self, platform: object) -> Module:
        m = Module()
        config, folding = self.config, self.folding
        lanes, group = folding.lanes, folding.group(config)
        units = {
            stage.name: MatrixVectorUnit(stage, folding.of(stage).simd, folding.of(stage).pe) for stage in config.stages
        }
        for name, unit in units.items():
            m.submodules[name] = unit
            wiring.connect(m, wiring.flipped(getattr(self, f"load_{name}")), unit.load)

        m.submodules.fork = fork = Fork(self.i.payload.shape(), 2)
        m.submodules.skip = skip = Queue(self.i.payload.shape(), self.skip_depth, block=True)
        m.submodules.line_buffer = lines = LineBuffer(config.height, config.width, config.hidden, group, HIDDEN)
        m.submodules.subtract = subtract = Subtract(config, lanes)
        wiring.connect(m, wiring.flipped(self.i), fork.i)
        wiring.connect(m, fork.o_0, skip.i)
        wiring.connect(m, skip.o, subtract.activations)
        wiring.connect(m, subtract.o, wiring.flipped(self.o))

        self._chain(m, "to_reduce", fork.o_1, units["reduce"].i)
        self._chain(m, "to_line_buffer", units["reduce"].o, lines.i)
        self._chain(m, "to_spatial", lines.o, units["spatial"].i)
        heads = [units["mean"]]
        hidden = units["spatial"].o
        if self.sampling:
            heads.append(units["log_sigma"])
        m.submodules.to_heads = to_heads = Resize(shape_of(HIDDEN), len(hidden.payload), folding.head.simd)
        m.submodules.heads = spread = Fork(to_heads.o.payload.shape(), len(heads))
        wiring.connect(m, hidden, to_heads.i)
        wiring.connect(m, to_heads.o, spread.i)
        for index, head in enumerate(heads):
            wiring.connect(m, getattr(spread, f"o_{index}"), head.i)
            self._chain(m, f"from_{head.stage.name}", head.o, getattr(subtract, head.stage.name))
        refusing = list(units.values())
        if self.sampling:
            m.submodules.noise = noise = GaussianSource(folding.noise_lanes)
            refusing.append(noise)
            wiring.connect(m, wiring.flipped(self.load_noise), noise.load)
            # A frame may end in the middle of a pair of samples: a new seed drops the other half.
            seeding = self.load_noise.valid & self.load_noise.payload.first
            self._chain(m, "from_noise", noise.samples, subtract.noise, restart=seeding)
        m.d.comb += self.refused.eq(Cat(part.refused for part in refusing).any())
        return m

    def _chain(self, m: Module, name: str, source: Any, target: Any, restart: Value | None = None) -> None:
        """Connect two streams of the same elements, through a `Resize` where they are grouped differently.

        What the `Resize` holds of a group is dropped while ``restart`` is high.
        """
        before, after = source.payload.shape(), target.payload.shape()
        if before.length == after.length:
            wiring.connect(m, source, target)
            return
        resize = Resize(after.elem_shape, before.length, after.length)
        m.submodules[name] = resize if restart is None else ResetInserter(restart)(resize)
        wiring.connect(m, source, resize.i)
        wiring.connect(m, resize.o, target)
