"""The last stage: 1x1 convolutions to mean and deviation of the noise, the noise, and what is left without it."""

from __future__ import annotations

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value, signed
from amaranth.lib import data, memory, stream, wiring
from amaranth.lib.wiring import In, Out

from quietbar.contract.block import HIDDEN, SIGMA, SIGMA_BITS, BlockConfig
from quietbar.contract.engine import SCALE_SECTIONS, WEIGHT_SECTIONS, EngineConfig
from quietbar.contract.gaussian import SAMPLE

from ..arithmetic import shape_of
from ..conv.folding import tree_levels
from ..conv.matrix_vector import add_up
from ..gaussian import GaussianSource
from ..stream import ResultQueue, delay
from .frames import FrameQueue, stage_layout
from .framing import skipped_layout
from .memory import RowMemory, store_layout, weight_words
from .scale import OPERAND_LATENCY, PRODUCT_LATENCY, SCALE_LATENCY, Scale, accumulated, products_of, weights_in
from .slots import Gather, PixelSlots, hidden_layout

NOISE_LATENCY = 4
"""Cycles from deviation and sample to the noise: table, its register, product, sum."""
SUBTRACT_LATENCY = 2
"""Cycles from noise to result: difference, clamp."""


def means_latency(config: EngineConfig) -> int:
    """Cycles from the last step of a beat to its means."""
    return PRODUCT_LATENCY + len(tree_levels(config.group)) + 1 + SCALE_LATENCY


def heads_latency(config: EngineConfig) -> int:
    """Cycles from the last step of a beat to the beat."""
    return means_latency(config) + (NOISE_LATENCY if config.noise else 0) + SUBTRACT_LATENCY


def heads_depth(config: EngineConfig) -> int:
    """Beats that can be under way or wait."""
    return ResultQueue.credit(heads_latency(config))


def samples_ahead(config: EngineConfig) -> int:
    """Transfers of samples that beats under way have claimed and not yet taken."""
    return means_latency(config) + 2


def samples_depth(config: EngineConfig) -> int:
    """Transfers of samples that a Box-Muller source holds."""
    return GaussianSource.depth(samples_ahead(config))


class Heads(wiring.Component):
    """``group`` hidden channels a cycle for ``lanes`` channels of each head, then noise and subtraction.

    Timing: a step a cycle, ``beats * groups`` of them a pixel, once the whole pixel is there and as long as results
    find room. A beat can leave `heads_latency` and one cycles after its last step. In sampling mode a beat also waits
    for its samples, which in a seeded engine come as fast as they are needed: Box-Muller's are claimed as the beat
    begins; those of the inverse CDF, whose pipeline stands full until they are taken, need only be there.

    Members:
        store: In, see `store_layout`.
        frame: In(stream of `stage_layout`).
        i: In(stream of `hidden_layout`).
        skipped: In(stream of `skipped_layout`), the beats, which come earlier than their noise.
        samples: In(stream of ``lanes`` samples); only with a source.
        sample_arriving: In(1), samples can be had from the next cycle on; only with Box-Muller.
        forget_samples: In(1), there are no samples any more; only with Box-Muller.
        o: Out(stream of `skipped_layout`).
        saturated_mean, saturated_log_sigma, saturated_output: Out, how many results were limited in a cycle.
    """

    def __init__(self, config: EngineConfig) -> None:
        self.config = config
        counted = range(config.lanes + 1)
        members = {
            "store": In(store_layout(config)),
            "frame": In(stream.Signature(stage_layout(config, "heads"))),
            "i": In(stream.Signature(hidden_layout(config.outputs * HIDDEN.bits))),
            "skipped": In(stream.Signature(skipped_layout(config))),
            "o": Out(stream.Signature(skipped_layout(config))),
            "saturated_output": Out(counted),
            **{f"saturated_{head}": Out(counted) for head in config.heads},
        }
        if config.noise:
            layout = data.ArrayLayout(shape_of(SAMPLE), config.lanes)
            members["samples"] = In(stream.Signature(layout))
            if config.source == "box-muller":
                members |= {"sample_arriving": In(1), "forget_samples": In(1)}
        super().__init__(members)

    def elaborate(self, platform: object) -> Module:
        m = Module()
        config = self.config
        m.submodules.frames = frames = FrameQueue(self.frame.payload.shape())
        wiring.connect(m, wiring.flipped(self.frame), frames.i)
        frame, fields = frames.o, frames.o.payload
        m.submodules.gather = gather = Gather(config.outputs * HIDDEN.bits, config.parts)
        wiring.connect(m, wiring.flipped(self.i), gather.i)
        m.submodules.slots = slots = PixelSlots(config.group * HIDDEN.bits, config.groups)
        m.d.comb += [
            slots.i.payload.word.eq(gather.o.payload.data),
            slots.i.payload.last.eq(gather.o.payload.ends_pixel),
            slots.i.payload.flag.eq(gather.o.payload.ends_frame),
            slots.i.valid.eq(gather.o.valid),
            gather.o.ready.eq(slots.i.ready),
        ]
        m.submodules.results = results = ResultQueue(self.o.payload.shape(), heads_depth(config))
        wiring.connect(m, results.o, wiring.flipped(self.o))

        # Steps.
        group, beat = Signal.like(fields.last_group, name="group"), Signal.like(fields.last_beat, name="beat")
        offset = Signal.like(fields.matrix, name="offset")
        last_group, last_beat = Signal(), Signal()
        going, launch, ended = Signal(), Signal(), Signal()
        sampled = self._samples(m, launch & fields.sampling) if config.noise else 0
        m.d.comb += [
            last_group.eq(group == fields.last_group),
            last_beat.eq(beat == fields.last_beat),
            going.eq(frame.valid & slots.there & (~last_group | (results.room & (~fields.sampling | sampled)))),
            launch.eq(going & last_group),
            ended.eq(launch & last_beat),
            slots.place.eq(group),
            slots.done.eq(ended),
            frame.ready.eq(ended & slots.flag),
            results.launch.eq(launch),
        ]
        with m.If(going):
            m.d.sync += [group.eq(Mux(last_group, 0, group + 1)), offset.eq(Mux(ended, 0, offset + 1))]
        with m.If(launch):
            m.d.sync += beat.eq(Mux(last_beat, 0, beat + 1))

        # Sums of the heads side by side.
        values = delay(m, slots.word, OPERAND_LATENCY, "values")
        address = delay(m, (fields.matrix + offset)[: len(fields.matrix)], 1, "address")
        age = PRODUCT_LATENCY + len(tree_levels(config.group))
        ends_sum = delay(m, last_group, age, "ends_sum")
        summed = delay(m, going, age, "going", reset_less=False)
        last = delay(m, launch, age, "launch", reset_less=False)
        finished = delay(m, last, 1, "finished", reset_less=False)
        row = delay(m, (fields.channel + beat)[: len(fields.channel)], age + 1, "row")
        found = {}
        for head in config.heads:
            m.submodules[f"{head}_weights"] = weights = RowMemory(
                config, WEIGHT_SECTIONS[head], config.matrix_rows, weight_words(config.lanes * config.group)
            )
            stage = config.stage(head)
            m.submodules[f"{head}_scale"] = scale = Scale(
                config, SCALE_SECTIONS[head], stage, config.lanes, config.lanes, config.channel_rows
            )
            totals = Signal(scale.totals.shape(), name=f"{head}_totals", reset_less=True)
            found[head] = scale
            matrix = weights_in(weights.row, config.lanes * config.group)
            for lane in range(config.lanes):
                name = f"{head}_{lane}"
                operands = [values.word_select(place, HIDDEN.bits) for place in range(config.group)]
                products = products_of(m, operands, matrix[lane * config.group :][: config.group], name)
                total = accumulated(m, add_up(m, products, name), stage, name, last=ends_sum, going=summed)
                with m.If(last):
                    m.d.sync += totals[lane].eq(total)
            m.d.comb += [
                weights.store.eq(self.store),
                weights.address.eq(address),
                scale.store.eq(self.store),
                scale.totals.eq(totals),
                scale.finished.eq(finished),
                scale.row.eq(row),
            ]
        latency = means_latency(config)
        is_signed = delay(m, fields.signed, latency, "is_signed")
        # Of a beat that is there: a register, since the enables of a whole source hang on it.
        sampling = delay(m, launch & fields.sampling, latency, "sampling", reset_less=False)
        self._subtract(m, found, is_signed, sampling, results)
        return m

    def _samples(self, m: Module, taking: Value) -> Value:
        """Whether there are samples for another beat: as many as came, less those that beats under way will take."""
        if self.config.source == "inverse-cdf":
            return self.samples.valid
        # One less than are there: whether there is any is the sign, a register.
        spare = Signal(range(-1, samples_depth(self.config)), init=-1)
        with m.If(self.forget_samples):
            m.d.sync += spare.eq(-1)
        with m.Else():
            m.d.sync += spare.eq(spare + self.sample_arriving - taking)
        return ~spare[-1]

    def _subtract(
        self, m: Module, found: dict[str, Scale], is_signed: Value, sampling: Value, results: ResultQueue
    ) -> None:
        """``clamp(round_shift((a << f) - n, f))`` of the beat that waits, with ``n`` from the heads."""
        config, lanes, fraction = self.config, self.config.lanes, self.config.fraction_bits
        here = found["mean"].valid
        m.d.comb += self.skipped.ready.eq(here)
        wait = NOISE_LATENCY if config.noise else 0
        beat = delay(m, self.skipped.payload, wait, "beat")
        is_signed = delay(m, is_signed, wait, "is_signed_late")
        means = delay(m, found["mean"].values, wait - 1 if wait else 0, "means")
        noises = self._noise(m, found, sampling, means) if config.noise else [means[lane] for lane in range(lanes)]
        limited, values = Signal(lanes), []
        half = Const(1 << (fraction - 1), fraction)
        signed_late = delay(m, is_signed, 1, "signed_late")
        for lane in range(lanes):
            byte = beat.data.word_select(lane, 8)
            activation = Signal(signed(9), name=f"activation_{lane}")
            m.d.comb += activation.eq(Cat(byte, byte[7] & is_signed).as_signed())
            scaled = Cat(half, activation).as_signed() - noises[lane]
            rounded = delay(m, scaled, 1, f"difference_{lane}")[fraction:]
            excess = rounded[8:]
            fits = ~excess.any() & ~(signed_late & rounded[7]) | (signed_late & excess.all() & rounded[7])
            limit = Mux(signed_late, Mux(rounded[-1], 128, 127), Mux(rounded[-1], 0, 255))
            value = Signal(8, name=f"result_{lane}", reset_less=True)
            m.d.sync += value.eq(Mux(fits, rounded[:8], limit))
            m.d.comb += limited[lane].eq(~fits)
            values.append(value)
        late = delay(m, beat, SUBTRACT_LATENCY, "beat_late")
        m.d.comb += [
            results.arrivals.payload.eq(late),
            results.arrivals.payload.data.eq(Cat(values)),
            results.arrivals.valid.eq(delay(m, here, wait + SUBTRACT_LATENCY, "here", reset_less=False)),
        ]
        counting = {"mean": (here, found["mean"].saturated)}
        if config.noise:
            counting["log_sigma"] = (sampling, found["log_sigma"].saturated)
        there = delay(m, here, wait + 1, "there", reset_less=False)
        counting["output"] = (there, limited)
        for name, (valid, bits) in counting.items():
            marked = delay(m, Mux(valid, bits, 0), 1, f"marked_{name}", reset_less=False)
            m.d.sync += getattr(self, f"saturated_{name}").eq(
                sum((marked[place] for place in range(lanes)), Value.cast(0))
            )

    def _noise(self, m: Module, found: dict[str, Scale], sampling: Value, means: Value) -> list[Value]:
        """``n`` of each lane, `NOISE_LATENCY` cycles after the heads; the mean alone outside sampling mode."""
        config, noises = self.config, []
        m.d.comb += self.samples.ready.eq(sampling)
        block = BlockConfig(1, 1, 1, 1, mode="sampling", fraction_bits=config.fraction_bits)
        m.submodules.sigma = rom = memory.Memory(shape=SIGMA_BITS, depth=len(SIGMA), init=SIGMA)
        drawing = delay(m, sampling, 1, "drawing")
        samples = delay(m, self.samples.payload, 1, "samples")
        for lane in range(config.lanes):
            sigma = rom.read_port()
            m.d.comb += sigma.addr.eq(found["log_sigma"].values[lane])
            sample = Signal(shape_of(SAMPLE), name=f"sample_{lane}", reset_less=True)
            m.d.sync += sample.eq(Mux(drawing, samples[lane], 0))
            product = delay(m, delay(m, sigma.data, 1, f"sigma_{lane}") * sample, 1, f"product_{lane}")
            noise = Signal(shape_of(block.noise_format), name=f"noise_{lane}", reset_less=True)
            # mean + round_shift(product, shift), with the rounding's half in the place below the mean.
            mean_and_half = Cat(Const(1, 1), means[lane]).as_signed()
            m.d.sync += noise.eq((mean_and_half + (product >> (block.noise_shift - 1))) >> 1)
            noises.append(noise)
        return noises
