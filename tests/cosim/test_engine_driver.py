"""The engine's driver over cocotb: it loads an image and runs frames through the Verilog alone, bit for bit."""

from dataclasses import replace

import numpy as np
import pytest

from quietbar.contract import BlockConfig
from quietbar.integer import Bundle, IntegerTap, Scales
from quietbar.integer.image import engine_image
from quietbar_cosim.driven import drive
from quietbar_cosim.engine import engine_design
from quietbar_cosim.engine_sessions import random_session
from quietbar_cosim.engines import EngineCase
from quietbar_cosim.regression import BenchFailure

ENGINE = random_session(48).engine
"""One of the regression's, so that its Verilog is built once."""
BLOCKS = [
    BlockConfig(9, 5, 1, 4, kernel="dense", signed=True),
    BlockConfig(8, 3, 2, 3, mode="sampling"),
    BlockConfig(5, 3, 1, 5, kernel="depthwise"),
]
ORDER = (0, 1, 2, 1, 0)
CASE = EngineCase.random(ENGINE, BLOCKS, ORDER, 5)
JOBS = [(f"tap{number}", frame[None]) for number, frame in zip(ORDER, CASE.frames, strict=True)]


@pytest.fixture(scope="module")
def image():
    scales = Scales(activation=0.1, reduce=0.1, spatial=0.1)
    taps = [IntegerTap(f"tap{number}", each, scales) for number, each in enumerate(CASE.parameters)]
    return engine_image(Bundle({tap.name: tap for tap in taps}), ENGINE)


def differing(driven):
    return [at for at, (came, expected) in enumerate(zip(driven.frames, CASE.expected_frames, strict=True))
            if not np.array_equal(came[0], expected.numpy())]  # fmt: skip


def test_it_loads_an_image_and_denoises_frames_through_the_verilog(image):
    driven = drive(engine_design(ENGINE), image, JOBS, CASE.seed)
    assert differing(driven) == []
    assert driven.counters["frames"] == len(ORDER)
    assert driven.counters["bad_frames"] == driven.errors == 0


def test_another_seed_shows_in_the_frames_that_are_sampled_and_in_no_others(image):
    """The comparison of the test above can fail."""
    driven = drive(engine_design(ENGINE), image, JOBS, CASE.seed + 1)
    assert differing(driven) == [at for at, block in enumerate(ORDER) if BLOCKS[block].mode == "sampling"]


def test_an_image_of_another_engine_is_refused_by_the_register_that_differs(image):
    other = replace(image, engine=replace(ENGINE, blocks=ENGINE.blocks - 1))
    with pytest.raises(BenchFailure, match=rf"engine.blocks.count = {ENGINE.blocks}: must be {ENGINE.blocks - 1}"):
        drive(engine_design(ENGINE), other, [])
