"""The RTL as a module: the reference's integers, bit for bit, however the batch is cut."""

import pytest
import torch

import quietbar_cosim
from quietbar.contract import BlockConfig
from quietbar.contract.errors import ConfigurationError
from quietbar.integer import Bundle, IntegerTap, Scales, random_parameters
from quietbar_cosim.blocks import random_frames
from quietbar_cosim.denoiser import RTLDenoiser

CONFIGURATIONS = {
    "mean": BlockConfig(8, 2, 6, 5),
    # 3 x 3 x 5 outputs to a frame: every second frame starts in the middle of a pair of samples.
    "sampling": BlockConfig(5, 2, 3, 3, mode="sampling", signed=True),
}


@pytest.fixture(scope="module")
def bundle():
    scales = Scales(activation=0.1, reduce=0.1, spatial=0.1)
    return Bundle(
        {name: IntegerTap(name, random_parameters(config, 3), scales) for name, config in CONFIGURATIONS.items()}
    )


@pytest.fixture(scope="module", params=list(CONFIGURATIONS))
def rtl(bundle, request):
    engine = RTLDenoiser(bundle, request.param, threads=2)
    yield engine
    engine.close()


@pytest.mark.parametrize("start_frame", [0, 1, 7])
def test_every_output_is_the_references(bundle, rtl, start_frame):
    frames = random_frames(rtl.config, 5, seed=1)
    expected = bundle.run(rtl.tap, frames, seed=11, start_frame=start_frame)
    denoised = rtl(frames, seed=11, start_frame=start_frame)
    assert torch.equal(denoised, expected)
    assert denoised.dtype == frames.dtype


def test_a_batch_may_be_cut_at_will(bundle, rtl, monkeypatch):
    monkeypatch.setattr("quietbar_cosim.denoiser.CHUNK_BEATS", 100)
    frames = random_frames(rtl.config, 7, seed=2)
    whole = rtl(frames, seed=3)
    cut = torch.cat([rtl(frames[:3], seed=3), rtl(frames[3:], seed=3, start_frame=3)])
    assert torch.equal(whole, cut)
    assert torch.equal(whole, bundle.run(rtl.tap, frames, seed=3))


def test_it_counts_frames_and_the_cycles_that_the_model_predicts(rtl):
    frames, cycles, predicted = rtl.frames, rtl.cycles, rtl.predicted_cycles
    rtl(random_frames(rtl.config, 4, seed=1))
    assert rtl.frames - frames == 4
    assert rtl.cycles - cycles == rtl.predicted_cycles - predicted > 0


def test_wider_types_come_back_as_they_went_in(bundle, rtl):
    frames = random_frames(rtl.config, 2, seed=5).long()
    assert rtl(frames).dtype == torch.int64
    assert torch.equal(rtl(frames), bundle.run(rtl.tap, frames))


def test_no_frames_give_no_frames(rtl):
    frames = random_frames(rtl.config, 1, seed=1)[:0]
    assert rtl(frames).shape == frames.shape


def test_it_is_a_module_of_the_package():
    assert quietbar_cosim.RTLDenoiser is RTLDenoiser
    assert issubclass(RTLDenoiser, torch.nn.Module)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda frames: frames[:, :-1], r"activations\.shape"),
        (lambda frames: frames.float(), r"activations = torch.float32: must be a tensor of integers"),
        (lambda frames: frames.long() + 1000, r"activations, element 0, 0, 0, 0 = \d+"),
    ],
)
def test_wrong_tensors_are_refused_by_name(rtl, change, message):
    with pytest.raises(ConfigurationError, match=message):
        rtl(change(random_frames(rtl.config, 1, seed=1)))


def test_an_unknown_tap_is_refused(bundle):
    with pytest.raises(ConfigurationError, match=r"bundle.tap = 'layer9': must be one of 'mean', 'sampling'"):
        RTLDenoiser(bundle, "layer9")
