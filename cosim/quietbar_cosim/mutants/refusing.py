"""What parts have to refuse: broken configuration frames, frames that end elsewhere, descriptors that do not fit."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from quietbar.contract import QuietbarError
from quietbar.contract.engine import EngineConfig, Section
from quietbar.contract.sources import SourceConfig
from quietbar.contract.stream import FrameKind
from quietbar_hw.crossbar.configuration import Error as TileError
from quietbar_hw.denoiser.top import Error as DenoiserError
from quietbar_hw.engine.driver import EngineDriver
from quietbar_hw.gaussian.top import Error as SourceError
from quietbar_hw.registers.driver import BusError
from quietbar_hw.registers.engine import engine_map

from ..bulk import Simulator
from ..engine import BulkBus
from ..vectors import Vectors
from .benches import Bench, Planted, Refusal

Frame = tuple[int, ...]


def _with(frame: Sequence[int], place: int, word: int) -> Frame:
    return (*frame[:place], word & 0xFFFFFFFF, *frame[place + 1 :])


def tile_refusals(vectors: Vectors) -> list[Refusal]:
    """Of a crossbar tile; the configuration of ``vectors`` is seed, weights, converter, seed."""
    by_kind = {frame[0]: frame for frame in vectors.configuration}
    program, converter, seed = (by_kind[kind] for kind in (FrameKind.PROGRAM, FrameKind.CONVERTER, FrameKind.SEED))
    length, value = TileError.CONFIGURATION_LENGTH, TileError.VALUE_RANGE
    broken: list[tuple[str, int, list[Frame]]] = [
        ("a kind that a tile does not know", TileError.CONFIGURATION_KIND, [(FrameKind.PARAMETERS, 1, 2)]),
        ("a kind and nothing else", length, [(FrameKind.SEED,)]),
        ("converter too short", length, [converter[:-1]]),
        ("converter too long", length, [(*converter, 0)]),
        ("weights too few", length, [seed, program[:-1]]),
        ("weights without a seed", TileError.SEED_USED, [program]),
        ("weights, and again without another seed", TileError.SEED_USED, [seed, program, program]),
        ("weight -128", value, [seed, _with(program, 1, -128)]),
        ("last weight 128", value, [seed, _with(program, len(program) - 1, 128)]),
        ("an offset of 25 bits", value, [_with(converter, 1, 1 << 24)]),
        ("a gain below its range", value, [_with(converter, 1 + vectors.axes[1][1], 0x7FFF)]),
        ("a read sigma of 21 bits", value, [_with(converter, len(converter) - 1, 1 << 20)]),
    ]
    found = [Refusal(name, tuple(frames), int(error)) for name, error, frames in broken]
    assert vectors.inputs is not None
    beats = vectors.inputs[: vectors.frame_beats]
    early = Refusal("last before the end of a vector", vectors.configuration, TileError.VECTOR_LENGTH, beats, 1)
    for missing in vectors.configuration[1:]:
        rest = tuple(frame for frame in vectors.configuration if frame is not missing)
        kind = FrameKind(missing[0]).name
        if rest.count(seed) == vectors.configuration.count(seed) or missing[0] != FrameKind.SEED:
            found.append(Refusal(f"input without {kind}", rest, TileError.NOT_CONFIGURED, beats, vectors.frame_beats))
    return [*found, early]


def denoiser_refusals(vectors: Vectors) -> list[Refusal]:
    """Of a block that samples, whose configuration is parameters and seed."""
    parameters, seed = vectors.configuration
    length, value = DenoiserError.CONFIGURATION_LENGTH, DenoiserError.PARAMETER_RANGE
    broken: list[tuple[str, int, Frame]] = [
        ("unknown kind", DenoiserError.CONFIGURATION_KIND, (99, 1, 2)),
        ("unknown kind alone", DenoiserError.CONFIGURATION_KIND, (0,)),
        ("another component's kind", DenoiserError.CONFIGURATION_KIND, (FrameKind.PROGRAM, *parameters[1:])),
        ("kind alone", length, parameters[:1]),
        ("seed's kind alone", length, seed[:1]),
        ("parameters too short", length, parameters[:-1]),
        ("parameters too long", length, (*parameters, 0)),
        ("seed too short", length, seed[:-1]),
        ("seed too long", length, (*seed, 5)),
        ("a state that no seed has", value, (*seed[:1], 1, 0, *seed[3:])),
        ("weight 128", value, _with(parameters, 1, 128)),
        ("weight -128", value, _with(parameters, 1, -128)),
        ("last shift 0", value, _with(parameters, len(parameters) - 1, 0)),
        ("last shift 48", value, _with(parameters, len(parameters) - 1, 48)),
    ]
    found = [Refusal(name, (frame,), int(error)) for name, error, frame in broken]
    assert vectors.inputs is not None
    beats, frame_beats = vectors.inputs[: 2 * vectors.frame_beats], vectors.frame_beats
    for name, configuration in (("parameters", (seed,)), ("seed", (parameters,))):
        error = int(DenoiserError.NOT_CONFIGURED)
        found.append(Refusal(f"data without {name}", configuration, error, beats, frame_beats))
    for name, wrong in (("early", frame_beats - 1), ("missing", 2 * frame_beats)):
        error = int(DenoiserError.FRAME_LENGTH)
        found.append(Refusal(f"last {name}", vectors.configuration, error, beats, wrong))
    return found


def source_refusals(config: SourceConfig, seed: int) -> list[Refusal]:
    """Of a Gaussian source."""
    frame = tuple(config.seed_frame(seed, 0))
    broken: list[tuple[str, SourceError, Frame]] = [
        ("another kind", SourceError.KIND, (FrameKind.PROGRAM, *frame[1:])),
        ("another kind alone", SourceError.KIND, (FrameKind.PARAMETERS,)),
        ("seed too short", SourceError.LENGTH, frame[:-1]),
        ("seed too long", SourceError.LENGTH, (*frame, 1)),
        ("seed alone", SourceError.LENGTH, frame[:1]),
        ("a state that no seed has", SourceError.STATE, (frame[0], *[0] * (len(frame) - 1))),
    ]
    return [Refusal(name, (words,), 1 << error) for name, error, words in broken]


def descriptors(engine: EngineConfig) -> Bench:
    """Each field of a descriptor, as large as the engine allows and then one larger, with small and large blocks.

    The first is taken, the second refused with the word that ends the descriptor.
    """
    cases = list(_descriptors(engine))

    def run(planted: Planted) -> None:
        with Simulator(planted.verilog) as simulator:
            bus = BulkBus(simulator)
            EngineDriver(bus, engine).stop()
            first = engine_map(engine).windows[0].address + 4 * engine.address(Section.DESCRIPTORS)
            for name, words, fits in cases:
                for word, value in enumerate(words):
                    taken = _taken(bus, first + 4 * word, value)
                    if taken != (fits or word < len(words) - 1):
                        raise QuietbarError(f"descriptor, {name}: word {word} is {'taken' if taken else 'refused'}")

    return Bench("bulk", f"descriptors {cases}", run)


def _taken(bus: BulkBus, address: int, value: int) -> bool:
    try:
        bus.write(address, value)
    except BusError:
        return False
    return True


def _descriptors(engine: EngineConfig) -> Iterator[tuple[str, list[int], bool]]:
    """Name, words, and whether they fit, see :meth:`quietbar.contract.descriptor.Descriptor.words`."""
    for beats, groups, depthwise in ((1, 1, True), (1, 1, False), (engine.beats, engine.groups, False)):
        passes = 1 if depthwise else groups * engine.parts
        shape = (beats - 1) | (groups - 1) << 8 | depthwise << 18
        fields = [
            ("width", 1, 0, engine.width - 1), ("height", 1, 16, engine.height - 1),
            ("matrix", 2, 0, engine.matrix_rows - beats * groups),
            ("window", 2, 16, engine.window_rows - passes * groups),
            ("hidden", 3, 0, engine.hidden_rows - groups), ("channel", 3, 16, engine.channel_rows - beats),
        ]  # fmt: skip
        for name, word, low, highest in fields:
            for value in (highest, highest + 1):
                words = [shape, 0, 0, 0]
                words[word] |= value << low
                yield f"{name} {value} of {beats} beats and {groups} groups", words, value <= highest
    for name, low, highest in (("beats", 0, engine.beats - 1), ("groups", 8, engine.groups - 1)):
        for value in (highest, highest + 1):
            yield f"{name} {value + 1}", [value << low | 1 << 18, 0, 0, 0], value <= highest
    for bit in range(19, 32):
        yield f"bit {bit}", [1 << bit, 0, 0, 0], False
