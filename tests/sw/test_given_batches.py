"""Whatever takes batches refuses what are none by name, before it does anything with them."""

import pytest
import torch
from torch.utils.data import DataLoader, IterableDataset

from quietbar import analog, denoise, integer, models, placement
from quietbar.contract.errors import ConfigurationError
from quietbar.data.checks import first_inputs, pairs, require_batches
from quietbar.noise import Chip, Variation
from quietbar.sharpness import loss_sharpness
from quietbar.training import fit

INPUTS, LABELS = torch.randn(4, 1, 8, 8, generator=torch.Generator().manual_seed(0)), torch.arange(4)
GOOD = [(INPUTS, LABELS)]


@pytest.fixture(scope="module")
def noisy():
    torch.manual_seed(0)
    model = analog.convert(models.create("digits").eval(), Chip(1, Variation(sigma=0.1)))
    analog.calibrate(model, GOOD)
    return model


@pytest.fixture(scope="module")
def denoised(noisy):
    return denoise.insert(noisy, placement.search(noisy, GOOD, 0.1))


def train_digits(batches):
    model = models.create("digits")
    fit(model, batches, torch.optim.SGD(model.parameters(), 0.1), 1, progress=False)


def configs(model):
    return {name: tap.config for name, tap in denoise.taps(model).items()}


CALLS = {
    "calibrate": ("calibrate.batches", lambda noisy, denoised, given: analog.calibrate(noisy, given)),
    "train": ("train.data", lambda noisy, denoised, given: denoise.train(denoised, given, 1, progress=False)),
    "search": ("placement.data", lambda noisy, denoised, given: placement.search(noisy, given, 0.1)),
    "jointly": ("placement.data", lambda noisy, denoised, given: placement.search_jointly(noisy, given, GOOD, 0.1)),
    "scoring": ("placement.scoring", lambda noisy, denoised, given: placement.search_jointly(noisy, GOOD, given, 0.1)),
    "greedily": (
        "placement.scoring",
        lambda noisy, denoised, given: placement.search_greedily(noisy, GOOD, given, 0.1),
    ),
    "exhaustively": (
        "placement.scoring",
        lambda noisy, denoised, given: placement.search_exhaustively(noisy, GOOD, given, 0.1),
    ),
    "sensitivity": (
        "search.data",
        lambda noisy, denoised, given: placement.measure_sensitivity(noisy, given, configs(denoised)),
    ),
    "export": ("export.calibration", lambda noisy, denoised, given: integer.export(denoised, given)),
    "accuracy": ("accuracy.batches", lambda noisy, denoised, given: models.accuracy(noisy, given)),
    "sharpness": (
        "sharpness.batches",
        lambda noisy, denoised, given: loss_sharpness(models.create("digits"), given),
    ),
    "fit": ("training.batches", lambda noisy, denoised, given: train_digits(given)),
}
"""What takes batches: the argument's name, and the call."""


@pytest.mark.parametrize(("name", "call"), CALLS.values(), ids=CALLS)
@pytest.mark.parametrize(
    ("given", "allowed"),
    [
        (None, "batches: a list of them"),
        (5, "batches: a list of them"),
        ("images", "batches: a list of them"),
        ([], "at least one batch"),
        (torch.empty(0, 1, 8, 8), "at least one batch"),
    ],
    ids=["none", "number", "text", "empty", "no images"],
)
def test_no_batches_are_refused_by_the_arguments_name(name, call, given, allowed, noisy, denoised, monkeypatch) -> None:
    monkeypatch.setattr("quietbar.placement.trials.train", lambda *a, **k: pytest.fail("it was trained first"))
    with pytest.raises(ConfigurationError) as raised:
        call(noisy, denoised, given)
    assert raised.value.field == name and raised.value.allowed.startswith(allowed)


@pytest.mark.parametrize("which", ["calibrate", "sensitivity", "export", "accuracy"])
def test_a_generator_without_batches_is_refused(which, noisy, denoised) -> None:
    """It does not say that it is empty: that is found at its end."""
    name, call = CALLS[which]
    with pytest.raises(ConfigurationError) as raised:
        call(noisy, denoised, (batch for batch in []))
    assert raised.value.field.startswith(name) and "at least one image" in raised.value.allowed


@pytest.mark.parametrize("which", ["train", "search", "jointly", "sensitivity", "accuracy", "sharpness", "fit"])
@pytest.mark.parametrize(
    "batch",
    [None, INPUTS, (INPUTS,), (INPUTS[:0], LABELS[:0]), (INPUTS, LABELS[0]), (INPUTS, LABELS[:3])],
    ids=["none", "x", "1", "empty", "one label", "few labels"],
)
def test_a_batch_that_is_none_is_refused_by_its_number(which, batch, noisy, denoised) -> None:
    name, call = CALLS[which]
    with pytest.raises(ConfigurationError) as raised:
        call(noisy, denoised, [batch])
    assert raised.value.field == f"{name}[0]" and raised.value.allowed.startswith("a batch of ")


@pytest.mark.parametrize("batch", [None, (), (INPUTS[:0], LABELS[:0])], ids=["none", "nothing", "empty"])
def test_a_calibration_batch_that_is_none_is_refused_by_its_number(batch, noisy, denoised) -> None:
    with pytest.raises(ConfigurationError, match=r"calibrate\.batches\[1\] = .*: must be a batch of"):
        analog.calibrate(noisy, [*GOOD, batch])
    with pytest.raises(ConfigurationError, match=r"export\.calibration\[1\] = .*: must be a batch of"):
        integer.export(denoised, [*GOOD, batch])


def test_an_iterator_is_refused_only_where_it_is_gone_through_again() -> None:
    require_batches("data", iter(GOOD))
    with pytest.raises(ConfigurationError, match="data = 'list_iterator': must be batches that can be gone through"):
        require_batches("data", iter(GOOD), again=True)


def test_what_is_asked_for_batches_is_not_read_and_draws_no_random_number() -> None:
    class Stream(IterableDataset):
        def __iter__(self):
            pytest.fail("it was read")

    before = torch.get_rng_state()
    for loader in (DataLoader(Stream()), DataLoader(list(zip(INPUTS, LABELS, strict=True)), shuffle=True)):
        require_batches("data", loader, again=True)
    assert torch.equal(torch.get_rng_state(), before)


def test_good_batches_come_as_they_are() -> None:
    (found,) = pairs("data", GOOD)
    assert found[0] is INPUTS and found[1] is LABELS and first_inputs("data", GOOD) is INPUTS
