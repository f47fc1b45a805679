"""The RTL held to the reference while a network runs: everything counted, the first difference told and kept."""

import re
from dataclasses import replace

import pytest
import torch

from quietbar.contract import BlockConfig
from quietbar.integer import Bundle, IntegerTap, Scales, parameter_frame, random_parameters, run_block
from quietbar_cosim.blocks import choose_folding, random_frames
from quietbar_cosim.compared import ComparedDenoiser, Tally
from quietbar_cosim.replay import load

CONFIGURATIONS = {
    "mean": BlockConfig(8, 2, 6, 5),
    # 3 x 3 x 5 outputs to a frame: every second frame starts in the middle of a pair of samples.
    "sampling": BlockConfig(5, 2, 3, 3, mode="sampling", signed=True),
}
FRAMES = 4


@pytest.fixture(params=list(CONFIGURATIONS))
def compared(request, tmp_path):
    config, scales = CONFIGURATIONS[request.param], Scales(activation=0.1, reduce=0.1, spatial=0.1)
    parameters = replace(random_parameters(config, 3), name=request.param)
    bundle = Bundle({request.param: IntegerTap(request.param, parameters, scales)})
    engine = ComparedDenoiser(bundle, request.param, choose_folding(config), 2, Tally(), tmp_path / "replay")
    yield engine
    engine.rtl.close()


def frames_of(engine):
    return random_frames(CONFIGURATIONS[engine.tap], FRAMES, 1)


def test_what_is_equal_is_counted_and_nothing_is_saved(compared, capsys):
    frames = frames_of(compared)
    for start in (0, FRAMES):
        denoised = compared(frames, seed=5, start_frame=start)
        assert torch.equal(denoised, compared.bundle.run(compared.tap, frames, seed=5, start_frame=start))
    tally = compared.tally.take()
    assert (tally.frames, tally.outputs, tally.bits) == (2 * FRAMES, 2 * frames.numel(), 16 * frames.numel())
    assert tally.differing == 0
    assert tally.cycles == tally.predicted > 0
    assert compared.tally == Tally(), "taken counts begin anew"
    assert not compared.replay_folder.exists()
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(("frame", "start_frame"), [(0, 0), (0, 1), (2, 0), (3, 2)])
def test_a_wrong_output_is_counted_named_and_kept_for_replay(compared, monkeypatch, capsys, frame, start_frame):
    """The reference is made wrong in the lowest bit of one place, wherever this frame is denoised."""
    frames = frames_of(compared)
    channel, row, column = 4, 2, 1

    def wrong(config, parameters, activations, *arguments, trace=False, **options):
        found = run_block(config, parameters, activations, *arguments, trace=trace, **options)
        denoised, told = found if trace else (found, None)
        here = (activations == frames[frame]).flatten(1).all(1)
        denoised = denoised.clone()
        denoised[here, channel, row, column] ^= 1
        return (denoised, told) if trace else denoised

    monkeypatch.setattr("quietbar.integer.bundle.run_block", wrong)
    monkeypatch.setattr("quietbar_cosim.blocks.run_block", wrong)
    denoised = compared(frames, seed=5, start_frame=start_frame)
    expected = run_block(
        CONFIGURATIONS[compared.tap], compared.bundle.tap(compared.tap).parameters, frames, 5, start_frame
    )
    assert torch.equal(denoised, expected), "what the RTL gives goes on, whatever the reference says"
    assert compared.tally.differing == 1
    assert compared.tally.outputs == frames.numel()

    printed = capsys.readouterr().out
    got = int(expected[frame, channel, row, column])
    assert f"tap {compared.tap}: 1 of {frames.numel()} outputs differ (1 of {8 * frames.numel()} bits)" in printed
    assert f"frame {frame}, channel 4, row 2, column 1: expected {got ^ 1}, got {got}\n" in printed
    assert re.search(rf"row 2, column 1, channel 4: expected {got ^ 1}, got {got}\n +tap {compared.tap}, ", printed)
    (folder,) = compared.replay_folder.iterdir()
    assert f"replay: quietbar replay {folder}" in printed

    case = load(folder)
    again = case.compare(case.run())
    assert {(place.position["channel"], place.expected, place.got) for place in again.first} == {(4, got ^ 1, got)}

    compared(frames, seed=5, start_frame=start_frame)
    assert compared.tally.differing == 2, "a second difference is counted"
    assert capsys.readouterr().out == "", "and not told again"


def test_a_wrong_weight_in_the_rtl_is_found(compared, capsys):
    """The frame alone agrees, as a case configures the hardware anew: what was seen is told all the same."""
    parameters = random_parameters(CONFIGURATIONS[compared.tap], 3)
    parameters.stages["mean"].weights[4, 0] *= -1
    compared.rtl._parameter_frame = parameter_frame(CONFIGURATIONS[compared.tap], parameters)
    frames = frames_of(compared)
    denoised = compared(frames, seed=5)
    expected = compared.bundle.run(compared.tap, frames, seed=5)
    places = (denoised != expected).nonzero()
    assert set(places[:, 1].tolist()) == {4}, "one output channel of the head is wrong"
    assert compared.tally.differing >= len(places) > 0

    frame, channel, row, column = places[0].tolist()
    printed = capsys.readouterr().out
    assert f"tap {compared.tap}: {len(places)} of {frames.numel()} outputs differ" in printed
    assert f"frame {frame}, channel {channel}, row {row}, column {column}: expected" in printed
    assert f"frame {frame} alone, no stalls: 0 of" in printed
