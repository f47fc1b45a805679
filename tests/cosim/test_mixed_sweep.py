"""The sweep over noise and time: its points, what is averaged, what is refused by name."""

import pytest

from quietbar.contract import ConfigurationError
from quietbar_cosim.mixed_sweep import Sweep, curves, write


def test_every_combination_is_a_point_with_and_without_denoisers():
    points = list(Sweep(sigmas=(0.0, 0.1), seconds=(20.0,), chips=(1, 2)).points)
    assert len(points) == len(set(points)) == 8


def test_chips_are_averaged_and_what_differs_is_counted(tmp_path):
    same = {"sigma": 0.1, "seconds": 20.0, "denoised": True, "images": 10}
    points = [
        {**same, "chip": 1, "accuracy": 90.0, "differing": 0},
        {**same, "chip": 2, "accuracy": 80.0, "differing": 1},
    ]
    (curve,) = curves(points)
    assert (curve["mean"], curve["deviation"]) == (85.0, 5.0)
    files = write(Sweep(), points, tmp_path / "results.json")
    assert '"differing": 1,' in files[0].read_text() or '"differing": 1\n' in files[0].read_text()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Sweep(sigmas=()), "sweep.sigmas"),
        (lambda: Sweep(sigmas=(-1.0,)), "sweep.sigmas = -1.0"),
        (lambda: Sweep(seconds=(1.0,)), "sweep.seconds = 1.0"),
        (lambda: Sweep(chips=(-1,)), "sweep.chips = -1"),
        (lambda: Sweep(images=0), "sweep.images = 0"),
        (lambda: Sweep(stuck_at_full=2.0), "sweep.stuck_at_full = 2.0"),
    ],
)
def test_what_makes_no_sense_is_refused_by_name(make, message):
    with pytest.raises(ConfigurationError, match=message):
        make()
