"""The line buffer gives every 3x3 window of every frame, whatever the frame's size and the stalls."""

import itertools
import random

import pytest

from quietbar.contract import UINT8
from quietbar_hw.conv import LineBuffer
from quietbar_hw.simulation import run_streams

SIZES = list(itertools.product(range(1, 6), range(1, 6)))
CHANNELS = [(1, 1), (2, 1), (2, 2), (6, 2)]


def random_frames(source, count, height, width, channels):
    """Frames by row, column and channel; no element is zero, so that padding shows."""
    return [
        [[[source.randint(1, 255) for _ in range(channels)] for _ in range(width)] for _ in range(height)]
        for _ in range(count)
    ]


def pixels(frames, group):
    """The frames as transfers of ``group`` channels."""
    for pixel in itertools.chain.from_iterable(row for frame in frames for row in frame):
        yield from (pixel[start : start + group] for start in range(0, len(pixel), group))


def windows(frames, group):
    """The specification."""
    for frame in frames:
        height, width, channels = len(frame), len(frame[0]), len(frame[0][0])
        outside = [0] * channels
        for row, column, start in itertools.product(range(height), range(width), range(0, channels, group)):
            window = []
            for y, x in itertools.product(range(row - 1, row + 2), range(column - 1, column + 2)):
                inside = 0 <= y < height and 0 <= x < width
                window += (frame[y][x] if inside else outside)[start : start + group]
            yield window


def buffered(component, frames, **options):
    expected = len(frames) * component.height * component.width * component.groups
    return run_streams(component, {"i": pixels(frames, component.group)}, {"o": expected}, limit=10_000, **options)


@pytest.mark.parametrize(("height", "width"), SIZES)
def test_windows_of_every_size(height, width):
    """Back to back and with stalls, where frames also come with pauses between."""
    source = random.Random(f"{height} {width}")
    channels, group = source.choice(CHANNELS)
    frames = random_frames(source, 4, height, width, channels)
    component = LineBuffer(height, width, channels, group, UINT8)
    for stall in (0.0, 0.4):
        assert buffered(component, frames, stall=stall, seed=1)["o"] == list(windows(frames, group))


@pytest.mark.parametrize("shape", [(4, 5, 1, 1), (3, 1, 2, 1), (1, 4, 2, 2), (5, 2, 6, 2)])
def test_no_cycle_is_lost_between_frames(shape):
    height, width, channels, group = shape
    component = LineBuffer(height, width, channels, group, UINT8)
    source = random.Random(1)
    few, many = (
        buffered(component, random_frames(source, count, height, width, channels))["cycles"][0] for count in (3, 7)
    )
    assert many - few == 4 * height * width * channels // group


def test_a_frame_does_not_wait_for_the_next():
    """All windows of a frame come although nothing follows: `buffered` would find no end."""
    frames = random_frames(random.Random(1), 1, 3, 3, 2)
    assert buffered(LineBuffer(3, 3, 2, 1, UINT8), frames)["o"] == list(windows(frames, 1))


class WrongRowAtTheEdge(LineBuffer):
    """The fault of a line buffer that forgets where a frame ends: the rows of its neighbors show at the edges."""

    def elaborate(self, platform):
        self.height *= 2
        m = super().elaborate(platform)
        self.height //= 2
        return m


def test_catches_a_wrong_row_at_the_edge():
    frames = random_frames(random.Random(2), 4, 3, 3, 1)
    component = WrongRowAtTheEdge(3, 3, 1, 1, UINT8)
    assert buffered(component, frames)["o"] != list(windows(frames, 1))
