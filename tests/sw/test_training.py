"""Training that was killed ends with the weights of training that was not, bit for bit."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from quietbar import training
from quietbar.contract.errors import ConfigurationError
from quietbar.data import Batches, Normalization, crop_and_flip
from quietbar.sharpness import SharpnessAware
from quietbar.training import TrainingError, cosine, cross_entropy, fit, one_cycle

EPOCHS, BATCHES = 3, 4


class Killed(Exception):
    pass


class TwoPasses:
    """A sharpness-aware optimizer in short: steps from the weights along the gradient found at disturbed weights."""

    def __init__(self, base: torch.optim.Optimizer) -> None:
        self.base = base
        self.state_dict, self.load_state_dict = base.state_dict, base.load_state_dict
        self.zero_grad = base.zero_grad

    @property
    def param_groups(self) -> list[dict]:
        return self.base.param_groups

    def step(self, closure: Callable[[], Tensor]) -> Tensor:
        value = closure()
        parameters = [parameter for group in self.param_groups for parameter in group["params"]]
        steps = [0.05 * parameter.grad for parameter in parameters]
        with torch.no_grad():
            for parameter, step in zip(parameters, steps, strict=True):
                parameter += step
        closure()
        with torch.no_grad():
            for parameter, step in zip(parameters, steps, strict=True):
                parameter -= step
        self.base.step()
        return value


class Noise(nn.Module):
    """Draws from a random source of its own, as an analog layer does."""

    def __init__(self) -> None:
        super().__init__()
        self.generator = torch.Generator().manual_seed(4)

    def forward(self, inputs: Tensor) -> Tensor:
        return inputs + 0.1 * torch.randn(inputs.shape, generator=self.generator)


def network() -> nn.Sequential:
    torch.manual_seed(1)
    return nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), Noise(), nn.Dropout(0.3), nn.Flatten(), nn.Linear(144, 5)
    )


def samples() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(2)
    images = torch.randint(0, 256, (22, 3, 8, 8), dtype=torch.uint8, generator=generator)
    return images, torch.randint(0, 5, (22,), generator=generator)


def shuffled_batches() -> Batches:
    return Batches(*samples(), 6, 3, crop_and_flip, Normalization(255, (0.5,) * 3, (0.25,) * 3))


def shuffled_loader() -> torch.utils.data.DataLoader:
    images, labels = samples()
    return torch.utils.data.DataLoader(torch.utils.data.TensorDataset(images / 255, labels), 6, shuffle=True)


OPTIMIZERS = {
    "sgd": lambda parameters: torch.optim.SGD(parameters, 0.05, momentum=0.9, weight_decay=1e-3),
    "adam": lambda parameters: torch.optim.AdamW(parameters, 0.01),
    "samson": lambda parameters: SharpnessAware(torch.optim.SGD(parameters, 0.05, momentum=0.9), "samson"),
    "two passes": lambda parameters: TwoPasses(torch.optim.SGD(parameters, 0.05, momentum=0.9)),
}


def train(
    checkpoint: Path | None = None,
    *,
    kill_before_step: int | None = None,
    optimizer: str = "sgd",
    data: Callable[[], object] = shuffled_batches,
    every: int = 0,
    **settings: object,
) -> tuple[dict[str, Tensor], list[training.Epoch]]:
    """Weights and history after training in a new process, so to speak; killed before one of its steps."""
    model = network()
    made = OPTIMIZERS[optimizer](model.parameters())
    steps = iter(range(1, 10_000))
    whole_step = made.step

    def step(closure: Callable[[], Tensor]) -> Tensor:
        if next(steps) == kill_before_step:
            raise Killed
        return whole_step(closure)

    made.step = step
    history = fit(
        model,
        data(),
        made,
        EPOCHS,
        one_cycle,
        checkpoint=checkpoint,
        checkpoint_every=every,
        generators=[model[3].generator],
        progress=False,
        **settings,
    )
    return model.state_dict(), history


def equal(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


class TestResume:
    @pytest.mark.parametrize("every", [0, 1, 3])
    @pytest.mark.parametrize("killed_before", range(1, EPOCHS * BATCHES + 1))
    def test_ends_with_the_same_weights_wherever_it_was_killed(
        self, tmp_path: Path, killed_before: int, every: int
    ) -> None:
        weights, history = train()
        with pytest.raises(Killed):
            train(tmp_path / "run", kill_before_step=killed_before, every=every)
        again, history_again = train(tmp_path / "run", every=every)
        assert equal(weights, again)
        assert history == history_again

    @pytest.mark.parametrize("data", [shuffled_batches, shuffled_loader])
    @pytest.mark.parametrize("optimizer", OPTIMIZERS)
    def test_holds_for_every_optimizer_and_for_a_loader_that_shuffles(
        self, tmp_path: Path, optimizer: str, data: Callable[[], object]
    ) -> None:
        weights, _ = train(optimizer=optimizer, data=data)
        for step in (3, 5, 2):
            with pytest.raises(Killed):
                train(tmp_path / "run", kill_before_step=step, optimizer=optimizer, data=data, every=1)
        again, _ = train(tmp_path / "run", optimizer=optimizer, data=data, every=1)
        assert equal(weights, again)

    def test_goes_on_from_the_batch_and_not_from_the_start(self, tmp_path: Path) -> None:
        with pytest.raises(Killed):
            train(tmp_path / "run", kill_before_step=8, every=1)
        with pytest.raises(Killed):
            train(tmp_path / "run", kill_before_step=5, every=1)
        train(tmp_path / "run", kill_before_step=2, every=1)  # of 12 steps, 7 and 4 are done: one is left

    def test_of_a_finished_training_loads_its_result(self, tmp_path: Path) -> None:
        weights, history = train(tmp_path / "run")
        again, history_again = train(tmp_path / "run", kill_before_step=1)
        assert equal(weights, again) and history == history_again

    def test_keeps_what_on_epoch_measured(self, tmp_path: Path) -> None:
        measured = {"on_epoch": lambda epoch, loss: {"validation": epoch * 10}}
        with pytest.raises(Killed):
            train(tmp_path / "run", kill_before_step=7, **measured)
        _, history = train(tmp_path / "run", **measured)
        assert [epoch.metrics["validation"] for epoch in history] == [10, 20, 30]

    @pytest.mark.parametrize("fault", ["random state", "position", "momentum"])
    def test_would_notice_what_a_checkpoint_forgot(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault: str
    ) -> None:
        """The comparison above can fail: it does when a part of the state is left out."""
        weights, _ = train()
        with pytest.raises(Killed):
            train(tmp_path / "run", kill_before_step=6, every=1)
        if fault == "random state":
            monkeypatch.setattr(training, "_restore_random_state", lambda state, generators: None)
        if fault == "position":
            monkeypatch.setattr(training, "_from_batch", lambda batches, epoch, start: batches.at_epoch(epoch, 0))
            with pytest.raises(TrainingError, match="the data changed"):
                train(tmp_path / "run")
            return
        if fault == "momentum":
            monkeypatch.setattr(torch.optim.SGD, "load_state_dict", lambda self, state: None)
        assert not equal(weights, train(tmp_path / "run")[0])


class TestCheckpointsThatDoNotFit:
    @pytest.fixture
    def checkpoint(self, tmp_path: Path) -> Path:
        train(tmp_path / "run")
        return tmp_path / "run"

    @pytest.mark.parametrize("damage", [lambda content: content[:-500], lambda content: b"", lambda content: b"text"])
    def test_damaged(self, checkpoint: Path, damage: Callable[[bytes], bytes]) -> None:
        checkpoint.write_bytes(damage(checkpoint.read_bytes()))
        with pytest.raises(TrainingError, match=r"run is damaged; delete .*run to start again"):
            train(checkpoint)

    @pytest.mark.parametrize("share", [0.3, 0.5, 0.8])
    def test_one_altered_byte(self, checkpoint: Path, share: float) -> None:
        content = bytearray(checkpoint.read_bytes())
        content[int(len(content) * share)] ^= 0xFF
        checkpoint.write_bytes(content)
        with pytest.raises(TrainingError, match="is damaged"):
            train(checkpoint)

    def test_of_another_optimizer(self, checkpoint: Path) -> None:
        with pytest.raises(TrainingError, match="is of another training: optimizer was SGD, is AdamW"):
            train(checkpoint, optimizer="adam")

    def test_of_another_identity(self, checkpoint: Path) -> None:
        with pytest.raises(TrainingError, match="is of another training: identity was , is recipe 2"):
            train(checkpoint, identity="recipe 2")

    def test_of_another_model(self, checkpoint: Path) -> None:
        model = nn.Sequential(*network(), nn.BatchNorm1d(5, affine=False))
        optimizer = OPTIMIZERS["sgd"](model.parameters())
        with pytest.raises(TrainingError, match="is of another model"):
            fit(model, shuffled_batches(), optimizer, EPOCHS, checkpoint=checkpoint, progress=False)

    def test_of_another_learning_rate(self, checkpoint: Path) -> None:
        model = network()
        optimizer = torch.optim.SGD(model.parameters(), 0.04, momentum=0.9, weight_decay=1e-3)
        with pytest.raises(TrainingError, match="is of another training: options was"):
            fit(model, shuffled_batches(), optimizer, EPOCHS, checkpoint=checkpoint, progress=False)


class TestTheLoop:
    def test_learns(self) -> None:
        history = train(optimizer="adam")[1]
        assert [epoch.number for epoch in history] == [1, 2, 3]
        assert history[-1].loss < history[0].loss

    def test_trains_what_the_optimizer_holds_with_the_modes_that_prepare_sets(self) -> None:
        model = network()

        def only_the_last_layer(model: nn.Module) -> None:
            model.eval()
            model[6].train()

        frozen = {name: value.clone() for name, value in model[:6].state_dict().items()}
        last = model[6].weight.detach().clone()
        optimizer = torch.optim.SGD(model[6].parameters(), 0.1)
        fit(model, shuffled_batches(), optimizer, 2, prepare=only_the_last_layer, progress=False)
        assert equal(frozen, model[:6].state_dict())
        assert not torch.equal(last, model[6].weight)

    def test_leaves_modes_and_learning_rates_as_they_were(self) -> None:
        model = network()
        model[1].eval()
        optimizer = torch.optim.SGD(model.parameters(), 0.1)
        fit(model, shuffled_batches(), optimizer, 1, cosine, progress=False)
        assert not model[1].training and model[0].training
        assert optimizer.param_groups[0]["lr"] == 0.1

    def test_scales_the_learning_rate_by_the_share_that_is_done(self) -> None:
        model, rates = network(), []
        optimizer = torch.optim.SGD(model.parameters(), 0.1)

        def loss(model: nn.Module, inputs: Tensor, labels: Tensor) -> Tensor:
            rates.append(optimizer.param_groups[0]["lr"])
            return cross_entropy(model, inputs, labels)

        fit(model, shuffled_batches(), optimizer, 2, lambda share: 1 - share, loss=loss, progress=False)
        assert rates == pytest.approx([0.1 * (1 - step / 8) for step in range(8)])

    def test_hands_the_loss_the_model_and_the_batch(self) -> None:
        model, seen = network(), []

        def loss(given: nn.Module, inputs: Tensor, labels: Tensor) -> Tensor:
            assert given is model
            seen.append(len(labels))
            return given(inputs).square().mean()

        history = fit(model, shuffled_batches(), OPTIMIZERS["sgd"](model.parameters()), 1, loss=loss, progress=False)
        assert seen == [6, 6, 6, 4] and len(history) == 1

    def test_reports_the_loss_before_the_disturbance_of_two_passes(self) -> None:
        losses: list[float] = []

        def loss(model: nn.Module, inputs: Tensor, labels: Tensor) -> Tensor:
            value = cross_entropy(model, inputs, labels)
            losses.append(float(value.detach()))
            return value

        history = train(optimizer="two passes", loss=loss)[1]
        assert history[0].loss == pytest.approx(sum(losses[0 : 2 * BATCHES : 2]) / BATCHES)

    @pytest.mark.parametrize(("value", "shown"), [(float("nan"), "nan"), (float("inf"), "inf")])
    def test_refuses_a_loss_that_is_not_finite_naming_epoch_and_batch(self, value: float, shown: str) -> None:
        calls = iter(range(1, 100))

        def loss(model: nn.Module, inputs: Tensor, labels: Tensor) -> Tensor:
            return cross_entropy(model, inputs, labels) * (value if next(calls) == BATCHES + 2 else 1.0)

        with pytest.raises(TrainingError, match=f"the loss is {shown} in epoch 2, batch 2"):
            train(loss=loss)

    def test_refuses_weights_that_are_not_finite_even_after_the_last_step(self) -> None:
        model = network()
        optimizer = torch.optim.SGD(model.parameters(), float("inf"))
        images, labels = samples()
        with pytest.raises(TrainingError, match="a weight is no longer finite after epoch 1"):
            fit(model, [(images / 255, labels)], optimizer, 1, progress=False)

    def test_refuses_data_that_run_out(self) -> None:
        images, labels = samples()
        batches = [(images / 255, labels)]

        class Once:
            def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
                while batches:
                    yield batches.pop()

        model = network()
        with pytest.raises(TrainingError, match="epoch 1 gave 0 batches instead of 1: the data changed"):
            fit(model, Once(), OPTIMIZERS["sgd"](model.parameters()), 1, progress=False)
        with pytest.raises(ConfigurationError, match=r"training\.batches = 'generator': must be batches that can be"):
            fit(model, iter(Once()), OPTIMIZERS["sgd"](model.parameters()), 1, progress=False)

    @pytest.mark.parametrize(
        ("settings", "message"),
        [
            ({"epochs": -1}, r"training\.epochs = -1"),
            ({"epochs": 1.5}, r"training\.epochs = 1\.5"),
            ({"batches": []}, r"training\.batches = \[\]: must be at least one batch"),
            ({"checkpoint_every": -2}, r"training\.checkpoint_every = -2"),
            ({"optimizer": "sgd"}, r"training\.optimizer = 'sgd': must be an optimizer instance"),
        ],
    )
    def test_refuses_bad_arguments(self, settings: dict, message: str) -> None:
        model = network()
        arguments = {"batches": shuffled_batches(), "epochs": 1, "progress": False} | settings
        with pytest.raises(ConfigurationError, match=message):
            fit(model, **({"optimizer": OPTIMIZERS["sgd"](model.parameters())} | arguments))


class TestSchedules:
    def test_cosine_falls_from_one_to_zero(self) -> None:
        assert [cosine(share) for share in (0, 0.5, 1)] == pytest.approx([1, 0.5, 0])

    def test_one_cycle_rises_to_one_and_falls(self) -> None:
        shares = (0, 0.15, 0.3, 0.65, 1)
        assert [one_cycle(share) for share in shares] == pytest.approx([0.04, 0.52, 1, 0.5, 4e-6], abs=1e-5)
