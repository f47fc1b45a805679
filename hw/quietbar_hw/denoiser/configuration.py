"""Configuration frames of the denoiser: parameters and seeds, checked word by word."""

from __future__ import annotations

from amaranth.hdl import Cat, Module, Mux, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from quietbar.contract import BlockConfig
from quietbar.contract.stream import CONFIGURATION_WORD_BITS, FrameKind

from ..conv.parameter_memory import image_words
from ..gaussian.uniform import WORDS_PER_LANE
from ..stream import LOAD

ConfigurationWord = data.StructLayout({"word": CONFIGURATION_WORD_BITS, "last": 1})
"""A word of a configuration frame; ``last`` is set on the frame's last."""


class Configuration(wiring.Component):
    """Takes configuration frames and hands their words to the parts of the block.

    A frame is accepted only while ``idle``; ``busy`` tells that one is waiting or under way, and that no data may be
    started. What a frame sets counts as not configured from its first word on, until all of it came and was in order.

    Timing: a word every cycle, and one cycle between frames.

    Members:
        i: In(stream of `ConfigurationWord`).
        idle: In(1), nothing is under way in the block.
        refused: In(1), from the block.
        busy: Out(1).
        configured: Out(1), parameters, and in sampling mode a seed, are there.
        length_error, kind_error, value_error: Out(1), pulses: a frame too short or too long; of unknown kind; with a
            word outside its format.
        load_...: Out, to the ports of the same names at the block.
    """

    def __init__(self, config: BlockConfig, noise_lanes: int) -> None:
        self.images = {FrameKind.PARAMETERS: {stage.name: image_words(stage) for stage in config.stages}}
        if config.mode == "sampling":
            self.images[FrameKind.SEED] = {"noise": noise_lanes * WORDS_PER_LANE}
        pulses = ("length_error", "kind_error", "value_error")
        super().__init__(
            {
                "i": In(stream.Signature(ConfigurationWord)),
                "idle": In(1),
                "refused": In(1),
                "busy": Out(1),
                "configured": Out(1),
                **{name: Out(1) for name in pulses},
                **{f"load_{name}": Out(LOAD) for image in self.images.values() for name in image},
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        word, last = self.i.payload.word, self.i.payload.last
        taken = self.i.valid & self.i.ready
        parts = [(kind, name, words) for kind, image in self.images.items() for name, words in image.items()]
        part, count = Signal(range(max(len(parts), 2))), Signal(range(max(words for _, _, words in parts)))
        complete = {kind: Signal(name=f"{kind.name.lower()}_complete") for kind in self.images}
        sound, waiting = Signal(), Signal()
        m.d.comb += [
            self.value_error.eq(self.refused),
            self.configured.eq(Cat(complete.values()).all()),
            self.busy.eq(self.i.valid | ~waiting),
        ]
        with m.If(self.refused):
            m.d.sync += sound.eq(0)

        with m.FSM():
            with m.State("KIND"):
                m.d.comb += [waiting.eq(1), self.i.ready.eq(self.idle)]
                with m.If(taken):
                    m.d.sync += [count.eq(0), sound.eq(1)]
                    with m.Switch(word):
                        for kind, image in self.images.items():
                            with m.Case(kind):
                                m.d.comb += self.length_error.eq(last)
                                m.d.sync += [
                                    complete[kind].eq(0),
                                    part.eq([name for _, name, _ in parts].index(next(iter(image)))),
                                ]
                                with m.If(~last):
                                    m.next = "WORDS"
                        with m.Default():
                            m.d.comb += self.kind_error.eq(1)
                            with m.If(~last):
                                m.next = "SKIP"

            with m.State("WORDS"):
                part_ends, frame_ends = Signal(), Signal()
                m.d.comb += self.i.ready.eq(1)
                with m.Switch(part):
                    for index, (kind, name, words) in enumerate(parts):
                        with m.Case(index):
                            load = getattr(self, f"load_{name}")
                            final = name == list(self.images[kind])[-1]
                            m.d.comb += [
                                load.valid.eq(taken),
                                part_ends.eq(count == words - 1),
                                frame_ends.eq(part_ends if final else 0),
                            ]
                with m.If(taken):
                    m.d.sync += [count.eq(Mux(part_ends, 0, count + 1)), part.eq(part + (part_ends & ~frame_ends))]
                    m.d.comb += self.length_error.eq(last ^ frame_ends)
                    with m.If(last):
                        m.next = "KIND"
                    with m.Elif(frame_ends):
                        m.next = "SKIP"
                    with m.If(last & frame_ends):
                        m.next = "VERDICT"

            # What the block has to say about the last word comes one cycle after it.
            with m.State("VERDICT"):
                with m.Switch(part):
                    for index, (kind, _, _) in enumerate(parts):
                        with m.Case(index):
                            m.d.sync += complete[kind].eq(sound & ~self.refused)
                m.next = "KIND"

            with m.State("SKIP"):
                m.d.comb += self.i.ready.eq(1)
                with m.If(taken & last):
                    m.next = "KIND"

        for _, name, _ in parts:
            load = getattr(self, f"load_{name}")
            m.d.comb += [load.payload.word.eq(word), load.payload.first.eq(count == 0)]
        return m
