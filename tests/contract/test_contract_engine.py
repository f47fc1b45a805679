"""The engine's contract: memory map, descriptors, what fits and what is refused."""

import itertools
from dataclasses import replace

import pytest

from quietbar.contract import BlockConfig, ConfigurationError
from quietbar.contract.descriptor import Descriptor, place, rows_needed, stage_cycles
from quietbar.contract.engine import REFERENCE, SECTION_BITS, EngineConfig, Section
from quietbar.contract.sources import KINDS

RESNET = [BlockConfig(c, c // 4, s, s, kernel="dense", mode="sampling") for c, s in ((16, 32), (32, 16), (64, 8))]
SMALL = EngineConfig(lanes=2, group=2, outputs=2, channels=8, hidden=4, height=5, width=6, blocks=3,
                     matrix_rows=9, window_rows=7, hidden_rows=4, channel_rows=6)  # fmt: skip


def test_the_reference_is_balanced_on_the_taps_of_resnet20():
    assert REFERENCE.multipliers == 84
    assert [set(stage_cycles(REFERENCE, block).values()) for block in RESNET] == [{4}, {8, 16}, {16, 64}]


@pytest.mark.parametrize(
    "engine", [SMALL, replace(SMALL, source="inverse-cdf"), EngineConfig(noise=False, matrix_rows=70, window_rows=60)]
)
def test_every_address_is_one_word(engine):
    addresses = [
        engine.address(section, row, word)
        for section in Section
        for row in range(engine.rows(section))
        for word in range(engine.row_words(section))
    ]
    assert len(set(addresses)) == len(addresses)
    assert max(addresses) < 1 << engine.address_bits
    assert {address >> engine.section_bits for address in addresses} <= set(range(1 << SECTION_BITS))


def test_blocks_lie_one_after_the_other():
    placed = place(REFERENCE, RESNET)
    assert [each.matrix for each in placed] == [0, 4, 20]
    for before, after in itertools.pairwise(placed):
        for field, rows in rows_needed(REFERENCE, before.block).items():
            assert getattr(after, field) == getattr(before, field) + rows


def test_words_of_a_descriptor():
    block = BlockConfig(30, 5, 7, 9, kernel="depthwise", mode="mean", signed=True)
    assert Descriptor(block, 3, 4, 5, 6).words(REFERENCE) == [
        7 | 1 << 8 | 5 << 16,
        8 | 6 << 16,
        3 | 4 << 16,
        5 | 6 << 16,
    ]


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"lanes": 3}, "engine.lanes = 3: must be a power of two"),
        ({"lanes": 1}, "engine.lanes = 1: must be 2 or more: samples of Box-Muller are pairs"),
        ({"source": "ziggurat"}, "engine.source = 'ziggurat': must be one of 'box-muller', 'inverse-cdf'"),
        ({"outputs": 8}, "engine.outputs = 8: must be at most the group of 4"),
        ({"channels": 30}, "engine.channels = 30: must be a multiple of the 4 lanes"),
        ({"hidden": 6}, "engine.hidden = 6: must be a multiple of the group of 4"),
        ({"kernels": "sparse"}, "engine.kernels = 'sparse': must be one of"),
        ({"blocks": 0}, "engine.blocks = 0: must be an integer from 1 to 256"),
        ({"fraction_bits": 8}, "engine.fraction_bits = 8"),
        ({"lanes": 2, "channels": 1024}, "engine.channels = 1024: must be at most 512"),
    ],
)
def test_refuses_an_engine_that_cannot_be(fields, message):
    with pytest.raises(ConfigurationError, match=message):
        EngineConfig(**fields)


@pytest.mark.parametrize(
    ("block", "message"),
    [
        (BlockConfig(9, 4, 5, 6), "tap.channels = 9: must be an integer from 1 to 8"),
        (BlockConfig(8, 5, 5, 6), "tap.hidden = 5: must be an integer from 1 to 4"),
        (BlockConfig(8, 4, 6, 6), "tap.height = 6"),
        (BlockConfig(8, 4, 5, 7), "tap.width = 7"),
        (BlockConfig(8, 4, 5, 5, fraction_bits=5), "tap.fraction_bits = 5: must be one of 4"),
        (BlockConfig(7, 4, 5, 5, mode="sampling"), "tap.channels = 7: must be a multiple of the 2 lanes"),
    ],
)
def test_refuses_a_block_that_does_not_fit(block, message):
    with pytest.raises(ConfigurationError, match=message):
        place(SMALL, [block], ["tap"])


def test_refuses_what_the_parts_left_out_would_do():
    block = BlockConfig(8, 4, 5, 5, kernel="depthwise", mode="sampling")
    with pytest.raises(ConfigurationError, match=r"block.kernel = 'depthwise': must be one of 'dense'"):
        EngineConfig(kernels="dense").check(block)
    with pytest.raises(ConfigurationError, match=r"block.mode = 'sampling': must be 'mean'"):
        EngineConfig(noise=False).check(block)


def test_says_how_large_a_memory_would_do():
    blocks = [BlockConfig(8, 4, 5, 5)] * 2
    with pytest.raises(ConfigurationError, match=r"engine.matrix_rows = 9: must be at least 16 for these 2 blocks"):
        place(SMALL, blocks)
    with pytest.raises(ConfigurationError, match=r"engine.blocks = 3: must be at least 4"):
        place(SMALL, [BlockConfig(1, 1, 1, 1)] * 4)
    with pytest.raises(ConfigurationError, match=r"descriptor.matrix = 2: must be an integer from 0 to 1"):
        Descriptor(blocks[0], matrix=2).check(SMALL)


def test_a_seed_takes_the_words_of_its_source():
    assert REFERENCE.source == "box-muller"
    assert {kind: replace(REFERENCE, source=kind).row_words(Section.SEED) for kind in KINDS} == {
        "box-muller": 20, "inverse-cdf": 12
    }  # fmt: skip
    assert EngineConfig(lanes=1, source="inverse-cdf").row_words(Section.SEED) == 8
    assert EngineConfig(noise=False).gaussian is None


def test_survives_a_manifest():
    assert EngineConfig.from_dict(SMALL.to_dict()) == SMALL
    other = replace(SMALL, source="inverse-cdf")
    assert EngineConfig.from_dict(other.to_dict()) == other
    older = {name: value for name, value in SMALL.to_dict().items() if name != "source"}
    assert EngineConfig.from_dict(older) == SMALL, "written before there was a choice"
    with pytest.raises(ConfigurationError, match=r"engine.lane = 4: must be absent"):
        EngineConfig.from_dict({"lane": 4})
