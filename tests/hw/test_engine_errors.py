"""What goes wrong at an engine's ports is told, never hangs it, and no frame that it spoilt comes out as a good one."""

from dataclasses import replace

import pytest

from quietbar.contract import BlockConfig
from quietbar.contract.descriptor import Descriptor
from quietbar.contract.engine import EngineConfig, EngineError, Section
from quietbar.integer.engine import descriptor_writes, seed_writes
from quietbar_cosim.engine_host import with_engine
from quietbar_cosim.engines import Beat, EngineCase

ENGINE = EngineConfig(2, 2, 1, 4, 4, 3, 3, 3, 16, 32, 8, 8)
BLOCKS = [
    BlockConfig(4, 2, 2, 3, kernel="dense", mode="sampling"),
    BlockConfig(3, 4, 3, 2, kernel="depthwise", signed=True),
]
CASE = EngineCase.random(ENGINE, BLOCKS, [0, 1, 0, 1, 0], 11)
UNKNOWN = 2


def flat(frames):
    return [beat for frame in frames for beat in frame]


def short(frame):
    return [*frame[:2], replace(frame[2], last=True)]


def long(frame):
    return [*frame[:-1], replace(frame[-1], last=False), Beat(5, False, 1), Beat(6, True, 0)]


def changed(frame):
    return [*frame[:3], replace(frame[3], block=1), *frame[4:]]


def unknown(frame):
    return [replace(beat, block=UNKNOWN) for beat in frame]


SPOILT = {
    "tlast early": (short, EngineError.FRAME_SHORT, "bad"),
    "tlast on the first beat": (lambda frame: [replace(frame[0], last=True)], EngineError.FRAME_SHORT, "bad"),
    "tlast missing": (long, EngineError.FRAME_LONG, "bad"),
    "tid changes": (changed, EngineError.BLOCK_CHANGED, "bad"),
    "tid changes, tlast early": (
        lambda frame: short([frame[0], replace(frame[1], block=1), frame[2]]),
        EngineError.BLOCK_CHANGED | EngineError.FRAME_SHORT,
        "bad",
    ),
    "unknown block": (unknown, EngineError.BLOCK_UNKNOWN, "dropped"),
    "unknown block of one beat": (lambda frame: [Beat(1, True, UNKNOWN)], EngineError.BLOCK_UNKNOWN, "dropped"),
    "a block that no bits name": (lambda frame: [replace(beat, block=3) for beat in frame], EngineError.BLOCK_UNKNOWN,
                                  "dropped"),
}  # fmt: skip


@pytest.mark.parametrize(("spoil", "error", "fate"), SPOILT.values(), ids=SPOILT)
def test_a_spoilt_frame_is_told_and_the_others_come_out_as_if_nothing_was(spoil, error, fate):
    """The frame in the middle is spoilt: it comes out whole and marked bad, taking its samples, or not at all."""
    spoilt = spoil(CASE.inputs[2])
    rest = CASE if fate == "bad" else CASE.without([2])
    expected = [*rest.expected]

    async def act(host):
        await host.load(CASE.writes)
        beats = flat([*CASE.inputs[:2], spoilt, *CASE.inputs[3:]])
        traffic = await host.exchange(beats, sum(map(len, expected)) + 1, patience=200)
        assert traffic.hung, "no beat more comes than should"
        assert len(traffic.taken) == len(beats), "all beats are taken"
        found = traffic.beats
        if fate == "bad":
            first = len(flat(expected[:2]))
            bad = found[first : first + len(expected[2])]
            assert [(beat.last, beat.bad, beat.block) for beat in bad] == [
                (beat.last, beat.last, beat.block) for beat in expected[2]
            ]
            found = found[:first] + expected[2] + found[first + len(bad) :]
        assert found == flat(expected)
        assert host.seen() == error
        assert host.context.get(host.control.error_block) == spoilt[0].block
        counters = host.counters()
        assert (counters["frames"], counters["bad_frames"], counters["dropped_frames"]) == (
            (4, 1, 0) if fate == "bad" else (4, 0, 1)
        )
        assert not host.context.get(host.control.busy)

    with_engine(ENGINE, act)


def test_a_short_frame_is_filled_up_with_zeros():
    """Its outputs are those of the frame with zeros in the place of what did not come; nothing else is defined."""
    frame = CASE.frames[1].clone()
    beats = [*CASE.inputs[1][:4]]
    filled = frame.permute(1, 2, 0).reshape(-1, 3).clone()
    filled[2:] = 0
    case = EngineCase(ENGINE, CASE.parameters, (1,), (filled.reshape(3, 2, 3).permute(2, 0, 1),), CASE.seed)
    beats[3] = replace(beats[3], last=True)

    async def act(host):
        await host.load(CASE.writes)
        traffic = await host.exchange(beats, len(case.expected[0]))
        lanes = [beat.data & (0xFF if at % 2 else 0xFFFF) for at, beat in enumerate(traffic.beats)]
        assert lanes == [beat.data & (0xFF if at % 2 else 0xFFFF) for at, beat in enumerate(case.expected[0])]

    with_engine(ENGINE, act)


def test_memory_is_written_at_rest_only():
    """A word that comes while the engine runs, or while frames are inside, is refused and changes nothing."""
    weight = ENGINE.address(Section.REDUCE, 0, 0)

    async def act(host):
        await host.load(CASE.writes)
        assert await host.write([(weight, 0)]) == [EngineError.WRITE_BUSY]
        await host.exchange(flat(CASE.inputs[:1]), 1, limit=30)
        host.run(False)
        assert host.context.get(host.control.busy)
        assert await host.write([(weight, 0)]) == [EngineError.WRITE_BUSY]
        host.run(True)
        left = await host.exchange([], 1000, patience=100)
        host.run(False)
        await host.tick()
        assert not host.context.get(host.control.busy)
        await host.load(seed_writes(ENGINE, CASE.seed))
        assert len(left.beats) > 0
        traffic = await host.exchange(flat(CASE.inputs), len(flat(CASE.expected)))
        assert traffic.beats == flat(CASE.expected)

    with_engine(ENGINE, act)


def test_nothing_begins_while_the_engine_is_held():
    """Frames wait at the door; parameters and descriptors that come meanwhile count."""

    async def act(host):
        beats = flat(CASE.inputs)
        traffic = await host.exchange(beats, 1, patience=50)
        assert traffic.hung and len(traffic.taken) <= 3
        assert not host.context.get(host.control.busy)
        await host.load(CASE.writes)
        traffic = await host.exchange(beats[len(traffic.taken) :], len(flat(CASE.expected)))
        assert traffic.beats == flat(CASE.expected)
        assert not host.seen()

    with_engine(ENGINE, act)


def test_sampling_frames_need_a_seed():
    async def act(host):
        writes = [write for write in CASE.writes if write[0] >> ENGINE.section_bits != Section.SEED]
        await host.load(writes)
        assert not host.context.get(host.control.seeded)
        traffic = await host.exchange(flat(CASE.inputs), 100, patience=100)
        assert traffic.beats == flat(CASE.expected[1::2])
        assert host.seen() == EngineError.NOT_SEEDED
        host.run(False)
        await host.load(seed_writes(ENGINE, CASE.seed))
        assert host.context.get(host.control.seeded)
        traffic = await host.exchange(flat(CASE.inputs), len(flat(CASE.expected)))
        assert traffic.beats == flat(CASE.expected)

    with_engine(ENGINE, act)


def test_words_outside_their_formats_and_places_are_refused():
    address = ENGINE.address
    weights, bias, scale = address(Section.MEAN, 1), address(Section.MEAN_SCALE), address(Section.MEAN_SCALE, 0, 1)
    good_scale = 0x8000 | 1 << 16
    seed = list(seed_writes(ENGINE, 3))
    wrong = {
        "a weight of -128": [(weights, 0x7F80FF01)],
        "a bias too large": [(bias, 1 << 23)],
        "a bias too small": [(bias, (-(1 << 23) - 1) & 0xFFFFFFFF)],
        "a multiplier too small": [(scale, 0x7FFF | 1 << 16)],
        "a shift of 0": [(scale, 0x8000)],
        "a shift of 48": [(scale, 0x8000 | 48 << 16)],
        "bits above the shift": [(scale, good_scale | 1 << 22)],
    }
    misplaced = {
        "a row too many": [(weights + (ENGINE.matrix_rows << ENGINE.row_bits(Section.MEAN)), 1)],
        "a word too many": [(address(Section.SPATIAL) + ENGINE.row_words(Section.SPATIAL), 1)],
        "a descriptor too many": [(ENGINE.blocks << 2, 0)],
        "no section": [(15 << ENGINE.section_bits, 0)],
        "a descriptor from its middle": [(address(Section.DESCRIPTORS, 1, 2), 0)],
        "a seed out of order": [seed[0], seed[2]],
    }
    right = [(weights, 0x7F81FF01), (bias, (1 << 23) - 1), (bias, -(1 << 23) & 0xFFFFFFFF), (scale, good_scale)]
    right += [(scale, 0xFFFF | 47 << 16)]

    async def act(host):
        assert await host.write(right) == [EngineError(0)] * len(right)
        for cases, error in ((wrong, EngineError.PARAMETER_RANGE), (misplaced, EngineError.WRITE_ADDRESS)):
            for name, writes in cases.items():
                assert (await host.write(writes))[-1] == error, name
        zeros = [(at, 0) for at, _ in seed]
        assert (await host.write(zeros))[-1] == EngineError.SEED_RANGE
        assert not host.context.get(host.control.seeded)
        assert await host.write(seed) == [EngineError(0)] * len(seed)
        assert host.context.get(host.control.seeded)

    with_engine(ENGINE, act)


def broken_descriptors():
    """Words of descriptors, each of which asks for one thing too much."""
    good = Descriptor(BLOCKS[0], 16 - 2, 32 - 2, 8 - 1, 8 - 2).words(ENGINE)
    yield "good", good, EngineError(0)
    for name, word, value in (
        ("beats", 0, good[0] + 1),
        ("groups", 0, good[0] + (2 << 8)),
        ("a flag that there is not", 0, good[0] | 1 << 19),
        ("width", 1, good[1] + 1),
        ("height", 1, good[1] + (2 << 16)),
        ("matrix", 2, good[2] + 1),
        ("window", 2, good[2] + (1 << 16)),
        ("hidden", 3, good[3] + 1),
        ("channel", 3, good[3] + (1 << 16)),
    ):
        yield name, [*good[:word], value, *good[word + 1 :]], EngineError.DESCRIPTOR_RANGE


def test_a_descriptor_beyond_the_engine_is_refused_and_its_block_unknown():
    async def act(host):
        for name, words, error in broken_descriptors():
            writes = [(ENGINE.address(Section.DESCRIPTORS, 0, at), word) for at, word in enumerate(words)]
            answers = await host.write(writes)
            assert answers == [EngineError(0)] * 3 + [error], name
            host.run(True)
            await host.cycles(3)
            host.seen()
            await host.exchange([Beat(0, True, 0)], 1, patience=150)
            known = EngineError.BLOCK_UNKNOWN not in host.seen()
            assert known == (not error), name
            await host.pulse("restart")
            host.run(False)

    with_engine(ENGINE, act)


def test_parts_that_an_engine_lacks_are_refused():
    engine = replace(ENGINE, noise=False, kernels="dense")
    sampling, depthwise = BLOCKS
    fits = BlockConfig(4, 4, 3, 3, kernel="dense")

    async def act(host):
        for block, error in ((sampling, True), (depthwise, True), (fits, False)):
            answers = await host.write(descriptor_writes_unchecked(engine, block))
            assert (answers[-1] == EngineError.DESCRIPTOR_RANGE) == error
        assert await host.write([(Section.SEED << engine.section_bits, 1)]) == [EngineError.WRITE_ADDRESS]

    with_engine(engine, act)


def descriptor_writes_unchecked(engine, block):
    return descriptor_writes(engine, Descriptor(block), 0)


@pytest.mark.parametrize("pulse", ["restart", "reset"])
@pytest.mark.parametrize("moment", [3, 17, 40, 55, 71])
def test_begins_anew_at_any_moment(pulse, moment):
    """A restart keeps the parameters and forgets the seed; a reset forgets the descriptors too."""

    async def act(host):
        await host.load(CASE.writes)
        await host.exchange(flat(CASE.inputs), 1000, limit=moment)
        await host.pulse(pulse)
        host.run(False)
        assert not host.context.get(host.core.o.valid)
        assert not host.context.get(host.control.busy)
        assert not host.context.get(host.control.seeded)
        descriptors = [
            write
            for number, descriptor in enumerate(CASE.descriptors)
            for write in descriptor_writes(ENGINE, descriptor, number)
        ]
        await host.load([*(descriptors if pulse == "reset" else ()), *seed_writes(ENGINE, CASE.seed)])
        traffic = await host.exchange(flat(CASE.inputs), len(flat(CASE.expected)))
        assert traffic.beats == flat(CASE.expected)
        assert not host.seen()

    with_engine(ENGINE, act)
