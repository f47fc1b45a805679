"""Denoising blocks: the identity when they come in, exact when folded, trained on a backbone that nothing touches."""

import copy
import itertools
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from quietbar import analog, denoise
from quietbar.contract import BlockConfig
from quietbar.contract.errors import ConfigurationError
from quietbar.data import Batches
from quietbar.denoise import (
    BackboneChangedError,
    DenoisingBlock,
    NoiseLevels,
    Objective,
    Population,
    Tap,
    freezing,
    training,
)
from quietbar.denoise.freezing import block_parameters, frozen_backbone
from quietbar.denoise.levels import FIRST_IMAGE
from quietbar.models import accuracy, create, digits_network
from quietbar.noise import Chip, Variation
from quietbar.training import TrainingError, cross_entropy, fit

SHAPES = [
    pytest.param(kernel, mode, signed, id=f"{kernel}-{mode}-{'signed' if signed else 'unsigned'}")
    for kernel, mode, signed in itertools.product(("depthwise", "dense"), ("mean", "sampling"), (False, True))
]


@pytest.fixture(autouse=True)
def torch_state():
    torch.manual_seed(3)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def images(count: int = 48, size: int = 16, seed: int = 5) -> Batches:
    """Images of one class each: a bright quarter in noise."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(0, 4, (count,), generator=generator)
    inputs = 0.3 * torch.rand(count, 1, 8, 8, generator=generator)
    for number, label in enumerate(labels.tolist()):
        inputs[number, 0, 4 * (label // 2) :, 4 * (label % 2) :][:4, :4] += 1.0
    return Batches(inputs, labels, size, shuffle_seed=1)


def trained_network() -> nn.Module:
    model = digits_network(classes=4)
    fit(model, images(), torch.optim.Adam(model.parameters(), lr=1e-2), 8, loss=cross_entropy, progress=False)
    return model.eval()


@pytest.fixture(scope="module")
def network() -> nn.Module:
    torch.manual_seed(0)
    return trained_network()


@pytest.fixture
def noisy(network) -> nn.Module:
    model = analog.convert(network, Chip(7, Variation(sigma=1.0)))
    analog.calibrate(model, images())
    return model


@pytest.fixture
def quiet(noisy) -> nn.Module:
    return denoise.insert(noisy, ["stage1", "stage2"], images().images)


def exercised(block: DenoisingBlock) -> DenoisingBlock:
    """The block with every parameter and statistic off its initial value, in evaluation mode."""
    with torch.no_grad():
        for tensor in block.state_dict().values():
            if tensor.dim():
                tensor.uniform_(0.1, 0.6).mul_(torch.where(torch.rand(tensor.shape) < 0.5, -1.0, 1.0))
        for norm in (block.reduce_norm, block.spatial_norm):
            norm.running_var.abs_()
    return block.eval()


class TestBlock:
    @pytest.mark.parametrize(("kernel", "mode", "signed"), SHAPES)
    def test_a_new_block_is_the_identity(self, kernel, mode, signed):
        block = DenoisingBlock(5, 3, kernel, mode, signed)
        activations = torch.randn(2, 5, 6, 7) if signed else torch.rand(2, 5, 6, 7)
        for mode_of_use in (block.train, block.eval):
            mode_of_use()
            output = block(activations)
            if mode == "mean":
                assert torch.equal(output, activations)
            else:
                assert (output - activations).abs().max() <= 6 * 2**-8

    @pytest.mark.parametrize(("kernel", "mode", "signed"), SHAPES)
    def test_folded_stages_compute_what_the_block_does(self, kernel, mode, signed):
        block = exercised(DenoisingBlock(5, 3, kernel, mode, signed))
        activations = torch.randn(4, 5, 6, 7)
        stages = block.folded()
        hidden = torch.conv2d(activations, *stages["reduce"]).relu()
        groups = 3 if kernel == "depthwise" else 1
        hidden = torch.conv2d(hidden, *stages["spatial"], padding=1, groups=groups).relu()
        mean, log_sigma = block.estimate(activations)
        torch.testing.assert_close(torch.conv2d(hidden, *stages["mean"]), mean)
        if mode == "sampling":
            torch.testing.assert_close(block.limit(torch.conv2d(hidden, *stages["log_sigma"])), log_sigma)
        else:
            assert log_sigma is None
            output = activations - mean
            torch.testing.assert_close(block(activations), output if signed else output.relu())

    @pytest.mark.parametrize(("kernel", "mode", "signed"), SHAPES)
    def test_folded_parameters_are_those_the_contract_counts(self, kernel, mode, signed):
        config = BlockConfig(12, 5, 4, 4, kernel, mode, signed)
        stages = DenoisingBlock(12, 5, kernel, mode, signed).folded()
        assert list(stages) == [stage.name for stage in config.stages]
        for name, (weight, bias) in stages.items():
            assert weight.numel() == config.stage(name).weights
            assert bias.numel() == config.stage(name).outputs
        assert sum(weight.numel() + bias.numel() for weight, bias in stages.values()) == config.parameters

    def test_folding_in_evaluation_mode_uses_running_statistics(self):
        block = DenoisingBlock(2, 2)
        before = block.folded()["reduce"][0]
        block.train()(3 + torch.rand(4, 2, 3, 3))
        assert not torch.equal(block.folded()["reduce"][0], before)

    def test_sampling_draws_the_predicted_deviation_from_torchs_random_state(self):
        block = DenoisingBlock(1, 1, mode="sampling", signed=True).eval()
        with torch.no_grad():
            block.log_sigma.bias.fill_(-1.0)
        activations = torch.zeros(1, 1, 256, 256)
        torch.manual_seed(1)
        first = block(activations)
        torch.manual_seed(1)
        assert torch.equal(block(activations), first)
        assert not torch.equal(block(activations), first)
        assert first.std().item() == pytest.approx(0.5, rel=0.02)

    def test_the_deviation_stays_in_the_contracts_table_and_can_come_back(self):
        block = DenoisingBlock(1, 1, mode="sampling")
        block.set_step(0.5)
        log_sigma = torch.tensor([-40.0, 0.0, 40.0], requires_grad=True)
        held = block.limit(log_sigma)
        assert held.tolist() == [-1 - 8, 0.0, -1 - 8 + 127 / 8]
        held.sum().backward()
        assert log_sigma.grad.tolist() == [1, 1, 1]

    def test_unsigned_output_is_never_negative(self):
        block = exercised(DenoisingBlock(3, 2, signed=False))
        with torch.no_grad():
            block.mean.bias.fill_(10.0)
        assert block(torch.rand(1, 3, 4, 4)).max() == 0
        block.signed = True
        assert block(torch.rand(1, 3, 4, 4)).max() < 0

    @pytest.mark.parametrize(
        ("arguments", "field"),
        [
            ((0, 1), "block.channels"),
            ((4, 0), "block.hidden"),
            ((4, 2.0), "block.hidden"),
            ((4, 2, "3x3"), "block.kernel"),
            ((4, 2, "dense", "median"), "block.mode"),
        ],
    )
    def test_bad_shapes_are_refused_by_field(self, arguments, field):
        with pytest.raises(ConfigurationError, match=field):
            DenoisingBlock(*arguments)

    @pytest.mark.parametrize("shape", [(1, 4, 4), (2, 3, 4, 4), (2, 4)])
    def test_an_input_of_another_shape_is_refused(self, shape):
        with pytest.raises(ConfigurationError, match=r"block.input.shape.*\(N, 4, H, W\)"):
            DenoisingBlock(4, 1)(torch.zeros(shape))

    @pytest.mark.parametrize("step", [0.0, -1.0, float("nan")])
    def test_a_step_that_is_no_size_is_refused(self, step):
        with pytest.raises(ConfigurationError, match=r"block.step"):
            DenoisingBlock(4, 1).set_step(step)


class InPlace(nn.Module):
    """Overwrites the outputs of its submodules, reads a submodule's attribute, and calls one of them twice."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(1, 4, 3, padding=1)
        self.relu = nn.ReLU(inplace=True)
        self.second = nn.Conv2d(4, 4, 3, padding=1)
        self.flat = nn.Flatten()

    def forward(self, inputs: Tensor) -> Tensor:
        hidden = self.relu(self.first(inputs))
        assert self.second.stride == (1, 1)
        outputs = self.second(hidden)
        outputs += hidden
        return self.flat(self.relu(outputs))


class TestInsertion:
    def test_an_inserted_untrained_block_changes_nothing_and_the_model_stays_as_it_was(self, noisy):
        keys = list(noisy.state_dict())
        quiet = denoise.insert(noisy, ["stage1", "stage3"], images().images)
        assert list(noisy.state_dict()) == keys
        inputs = images().images
        analog.restart(noisy)
        assert torch.equal(quiet(inputs), noisy(inputs))
        assert denoise.taps(noisy) == {}

    def test_a_probe_shows_shape_and_sign(self, noisy):
        quiet = denoise.insert(noisy, ["stage1", "stage3.conv"], images().images)
        found = denoise.taps(quiet)
        assert list(found) == ["stage1", "stage3.conv"]
        assert found["stage1"].config == BlockConfig(16, 4, 8, 8)
        assert found["stage3.conv"].config == BlockConfig(32, 8, 4, 4, signed=True)

    def test_widths_kernel_mode_and_sign_can_be_asked_for(self, noisy):
        probe = images().images
        quiet = denoise.insert(
            noisy, ["stage1", "stage2"], probe, hidden={"stage1": 3}, kernel="dense", mode="sampling", signed=True
        )
        configs = {name: tap.config for name, tap in denoise.taps(quiet).items()}
        assert configs["stage1"] == BlockConfig(16, 3, 8, 8, "dense", "sampling", True)
        assert configs["stage2"].hidden == 4
        assert denoise.taps(denoise.insert(noisy, ["stage2"], probe, hidden=7))["stage2"].config.hidden == 7

    def test_first_weights_depend_on_seed_and_tap_and_on_nothing_else(self, noisy):
        probe = images().images
        one, two = (denoise.insert(noisy, names, probe) for names in (["stage2"], ["stage1", "stage2"]))
        other = denoise.insert(noisy, ["stage2"], probe, seed=1)
        weight = denoise.taps(one)["stage2"].block.reduce.weight
        assert torch.equal(weight, denoise.taps(two)["stage2"].block.reduce.weight)
        assert not torch.equal(weight, denoise.taps(other)["stage2"].block.reduce.weight)

    def test_insertion_leaves_torchs_random_state_alone(self, noisy):
        state = torch.get_rng_state()
        denoise.insert(noisy, ["stage1"], images().images)
        assert torch.equal(torch.get_rng_state(), state)

    def test_a_tap_around_a_tap(self, noisy):
        quiet = denoise.insert(noisy, ["stage1", "stage1.conv"], images().images)
        assert set(denoise.taps(quiet)) == {"stage1", "stage1.conv"}
        assert isinstance(quiet.stage1.host.conv, Tap)
        bare = denoise.remove(quiet)
        assert list(bare.state_dict()) == list(noisy.state_dict())

    def test_a_model_that_works_in_place_and_reads_attributes(self):
        model = InPlace()
        inputs = torch.randn(2, 1, 5, 5)
        quiet = denoise.insert(model, ["first", "second"], inputs)
        assert torch.equal(quiet(inputs), model(inputs))
        assert denoise.taps(quiet)["first"].config.signed
        quiet(inputs).sum().backward()
        assert quiet.first.block.mean.weight.grad.abs().sum() > 0

    def test_blocks_go_out_again(self, noisy, quiet):
        with torch.no_grad():
            for tap in denoise.taps(quiet).values():
                exercised(tap.block)
        inputs = images().images
        bare = denoise.remove(quiet)
        assert list(bare.state_dict()) == list(noisy.state_dict())
        with analog.quiet(noisy), analog.quiet(bare), analog.quiet(quiet):
            assert torch.equal(bare(inputs), noisy(inputs))
            assert not torch.equal(quiet(inputs), noisy(inputs))
            with denoise.without_blocks(quiet):
                assert torch.equal(quiet(inputs), noisy(inputs))
            assert not torch.equal(quiet(inputs), noisy(inputs))
            denoise.enable(quiet, False)
            with denoise.without_blocks(quiet):
                pass
            assert torch.equal(quiet(inputs), noisy(inputs))

    def test_a_residual_networks_blocks_by_name(self):
        model = create("resnet20").eval()
        quiet = denoise.insert(model, ["layer1.0", "layer2.0", "relu"], torch.randn(2, 3, 32, 32))
        frames = {name: (tap.config.channels, tap.config.height) for name, tap in denoise.taps(quiet).items()}
        assert frames == {"relu": (16, 32), "layer1.0": (16, 32), "layer2.0": (32, 16)}

    def test_a_tap_that_does_not_exist_is_refused_with_names_near_it(self, noisy):
        with pytest.raises(ConfigurationError, match=r"tap = 'stag1'.*stage1"):
            denoise.insert(noisy, ["stag1"], images().images)
        with pytest.raises(ConfigurationError, match=r"tap = 'zzzz'.*they are stage1"):
            denoise.insert(noisy, ["zzzz"], images().images)

    @pytest.mark.parametrize(
        ("taps", "message"),
        [
            ([], "insert.taps"),
            ([""], "the name of a submodule"),
            ([3], "the name of a submodule"),
            (["stage1", "stage1"], "named once"),
            (["linear"], r"tap.shape = \(48, 4\).*\(N, C, H, W\), at linear"),
        ],
    )
    def test_taps_that_cannot_be_are_refused(self, noisy, taps, message):
        with pytest.raises(ConfigurationError, match=message):
            denoise.insert(noisy, taps, images().images)

    def test_a_module_called_twice_or_never_is_refused(self):
        model = InPlace()
        model.unused = nn.ReLU()
        with pytest.raises(ConfigurationError, match=r"tap.calls = 2.*at relu"):
            denoise.insert(model, ["relu"], torch.randn(2, 1, 5, 5))
        with pytest.raises(ConfigurationError, match=r"tap.calls = 0.*at unused"):
            denoise.insert(model, ["unused"], torch.randn(2, 1, 5, 5))

    def test_other_mistakes_are_refused(self, noisy, quiet):
        with pytest.raises(ConfigurationError, match=r"insert.probe"):
            denoise.insert(noisy, ["stage1"])
        with pytest.raises(ConfigurationError, match=r"insert.hidden = \['stage9'\]"):
            denoise.insert(noisy, ["stage1"], images().images, hidden={"stage9": 3})
        with pytest.raises(ConfigurationError, match="no block yet"):
            denoise.insert(quiet, ["stage1"], images().images)


class TestTraining:
    def test_blocks_learn_and_the_backbone_is_byte_identical(self, noisy):
        quiet = denoise.insert(noisy, ["stage1", "stage2"], images().images, hidden=16)
        test = images(256, 64, seed=9)
        before, hashes = accuracy(quiet, test), denoise.backbone_hashes(quiet)
        weights = [parameter.detach().clone() for parameter in block_parameters(quiet)]
        wanted = [parameter.requires_grad for parameter in quiet.parameters()]
        history = denoise.train(quiet, images(256, 16), 3, learning_rate=1e-2, progress=False)
        assert len(history) == 3
        assert history[-1].loss < history[0].loss
        assert denoise.backbone_hashes(quiet) == hashes
        assert [parameter.requires_grad for parameter in quiet.parameters()] == wanted
        assert not any(torch.equal(*pair) for pair in zip(block_parameters(quiet), weights, strict=True))
        analog.restart(quiet)
        after = accuracy(quiet, test)
        assert after > before + 3, f"{before} % before, {after} % after"
        assert not any(module.training for module in quiet.modules())

    @pytest.mark.parametrize("mode", ["mean", "sampling"])
    @pytest.mark.parametrize(
        "objective", [Objective(task=1, distillation=0), Objective(features=1), Objective(0, 0, 1)]
    )
    def test_every_objective_trains_every_mode(self, noisy, mode, objective):
        quiet = denoise.insert(noisy, ["stage1", "stage2.conv"], images().images, mode=mode)
        weights = [parameter.detach().clone() for parameter in block_parameters(quiet)]
        denoise.train(quiet, images(), 1, objective=objective, progress=False)
        assert not any(torch.equal(*pair) for pair in zip(block_parameters(quiet), weights, strict=True))

    def test_sampling_learns_the_deviation_of_the_noise_it_cannot_predict(self):
        # One pixel tells nothing of its own noise: the mean is nearly 0 and the deviation that of the noise.
        model = nn.Sequential(nn.Conv2d(1, 1, 1), nn.Flatten())
        nn.init.ones_(model[0].weight)
        noisy = analog.convert(model, Chip(1, Variation(sigma=0.5)))
        data = Batches(torch.randn(512, 1, 4, 4), torch.zeros(512, dtype=torch.int64), 32)
        scale = analog.calibrate(noisy, data)["0"].std
        quiet = denoise.insert(noisy, ["0"], data.images, mode="sampling", hidden=8)
        objective, levels = Objective(distillation=0, features=1), NoiseLevels(1.0, 1.0, 0.0)
        denoise.train(quiet, data, 12, objective=objective, levels=levels, learning_rate=2e-2, progress=False)
        with torch.no_grad():
            _, log_sigma = denoise.taps(quiet)["0"].block.estimate(data.images)
        # The best estimate keeps 1 / (1 + 1 / 0.25) of the noise's energy in doubt: sigma 0.5 * sqrt(0.8).
        assert torch.exp2(log_sigma).mean().item() == pytest.approx(0.5 * 0.8**0.5 * scale, rel=0.15)

    def test_the_frozen_part_in_front_of_the_first_tap_has_no_graph(self, quiet):
        with frozen_backbone(quiet), denoise.observed({"host": quiet.stage1.host, "block": quiet.stage1.block}) as seen:
            quiet(images().images)
        assert not seen["host"][0].requires_grad
        assert seen["block"][0].requires_grad

    @pytest.mark.parametrize("chips", [0, 3])
    def test_stopped_and_resumed_is_bit_equal(self, noisy, tmp_path: Path, chips: int):
        analog.set_chip(noisy, Chip(7, Variation(sigma=1.0, gain_mismatch=0.1)))

        class StoppedError(Exception):
            pass

        def run(path: Path | None, stop_after: int = 0) -> tuple[nn.Module, list]:
            quiet = denoise.insert(noisy, ["stage1", "stage2"], images().images, mode="sampling")
            data, given = images(), 0

            class Stopping:
                def __len__(self) -> int:
                    return len(data)

                def at_epoch(self, epoch, start=0):
                    nonlocal given
                    for batch in data.at_epoch(epoch, start):
                        given += 1
                        if stop_after and given > stop_after:
                            raise StoppedError
                        yield batch

                def __iter__(self):
                    return iter(data)

            def measure(number: int, loss: float) -> dict[str, float]:
                return {"accuracy": accuracy(quiet, images(seed=2))}

            history = denoise.train(
                quiet,
                Stopping(),
                2,
                checkpoint=path,
                checkpoint_every=1,
                on_epoch=measure,
                objective=Objective(features=1),
                population=Population(chips),
                progress=False,
            )
            return quiet, history

        whole, expected = run(None)
        for stop_after in (1, 3, 5):
            path = tmp_path / f"{stop_after}.pt"
            with pytest.raises(StoppedError):
                run(path, stop_after)
            torch.rand(stop_after)
            resumed, history = run(path)
            assert history == expected
            pairs = zip(whole.state_dict().values(), resumed.state_dict().values(), strict=True)
            assert all(torch.equal(*pair) for pair in pairs)

    def test_a_checkpoint_of_another_backbone_is_refused(self, noisy, tmp_path):
        path = tmp_path / "blocks.pt"
        denoise.train(denoise.insert(noisy, ["stage1"], images().images), images(), 1, checkpoint=path, progress=False)
        with torch.no_grad():
            noisy.linear.bias[0] += 1
        with pytest.raises(TrainingError, match="another training"):
            quiet = denoise.insert(noisy, ["stage1"], images().images)
            denoise.train(quiet, images(), 1, checkpoint=path, progress=False)

    def test_the_noise_is_left_as_it_was_and_training_noise_is_not_the_evaluations(self, quiet):
        analog.scale_noise(quiet, 0.5)
        analog.restart(quiet, 12)
        met, layer = [], quiet.stage1.host.conv
        layer.register_forward_hook(lambda *_: met.append(layer.image) if not layer.is_quiet else None)
        denoise.train(quiet, images(), 1, progress=False)
        assert min(met) > FIRST_IMAGE
        assert layer.factor == 0.5
        assert set(analog.position(quiet).values()) == {12}

    def test_a_population_is_other_chips_and_the_models_own_comes_back(self, quiet, tmp_path):
        variation = Variation(gain_mismatch=0.2, offset_mismatch=0.2)
        analog.set_chip(quiet, Chip(7, variation))
        met, layer = [], quiet.stage1.host.conv
        gain = layer.gain.clone()
        layer.register_forward_hook(lambda *_: met.append(layer.chip) if not layer.is_quiet else None)
        seen = []
        population = Population(chips=3)
        denoise.train(
            quiet,
            images(size=4),
            2,
            population=population,
            on_epoch=lambda number, loss: seen.append(layer.chip.seed),
            progress=False,
        )
        assert len({chip.seed for chip in met}) == 3
        assert 7 not in {chip.seed for chip in met}
        assert {chip.variation for chip in met} == {variation}
        assert seen == [7, 7]
        assert layer.chip == Chip(7, variation)
        assert torch.equal(layer.gain, gain)

    def test_chips_that_share_a_teacher_have_the_blocks_that_each_would_have_alone(self, quiet):
        def trained(chip: int, teacher: denoise.Teacher | None) -> dict[str, Tensor]:
            model = copy.deepcopy(quiet)
            analog.set_chip(model, Chip(chip, Variation(sigma=0.2, gain_mismatch=0.1)))
            denoise.train(model, images(), 2, teacher=teacher, progress=False)
            return model.state_dict()

        asked = []
        teacher = denoise.Teacher(copy.deepcopy(quiet))
        teacher.model.register_forward_hook(lambda *_: asked.append(1))
        for chip in (1, 2):
            alone, together = trained(chip, None), trained(chip, teacher)
            assert all(torch.equal(alone[name], together[name]) for name in alone)
        batches = {batch.numpy().tobytes() for epoch in (0, 1) for batch, _ in images().at_epoch(epoch)}
        assert len(asked) == len(batches), "each batch once, whatever the chip"

    def test_a_teacher_is_its_weights_and_statistics_whatever_the_chip_and_the_blocks(self):
        alone = nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), nn.ReLU(), nn.BatchNorm2d(4)).eval()
        noisy = analog.convert(alone, Chip(7, Variation(sigma=1.0)))
        analog.calibrate(noisy, images())
        model = denoise.insert(noisy, ["1"], images().images)
        digest = denoise.Teacher(model).digest
        analog.set_chip(model, Chip(3, Variation(gain_mismatch=0.3)))
        with torch.no_grad():
            block_parameters(model)[0].add_(1.0)
        assert denoise.Teacher(model).digest == digest
        model.get_buffer("2.running_mean").add_(1.0)
        assert denoise.Teacher(model).digest != digest

    def test_another_teacher_teaches_something_else_and_makes_another_training(self, quiet, tmp_path):
        other = copy.deepcopy(quiet)
        with torch.no_grad():
            other.linear.weight.neg_()
        denoise.train(quiet, images(), 1, checkpoint=tmp_path / "blocks.pt", progress=False)
        with pytest.raises(TrainingError, match="checkpoint"):
            teacher = denoise.Teacher(other)
            denoise.train(quiet, images(), 1, teacher=teacher, checkpoint=tmp_path / "blocks.pt", progress=False)
        scores = denoise.Teacher(other)(images().images)
        assert not torch.equal(scores, denoise.Teacher(quiet)(images().images))

    def test_products_in_bfloat16_train_other_blocks_as_well_and_again_the_same(self, quiet, tmp_path):
        def trained(precision: denoise.Precision, path: Path | None = None) -> tuple[nn.Module, float]:
            model = copy.deepcopy(quiet)
            history = denoise.train(model, images(400), 2, precision=precision, checkpoint=path, progress=False)
            return model, history[-1].loss

        (exact, loss), (rounded, other), (again, _) = map(trained, ("float32", "bfloat16", "bfloat16"))
        weights = [torch.cat([weight.flatten() for weight in block_parameters(m)]) for m in (exact, rounded, again)]
        assert {weight.dtype for weight in weights} == {torch.float32}
        assert torch.equal(weights[1], weights[2]) and not torch.equal(weights[0], weights[1])
        assert other == pytest.approx(loss, rel=0.05)

        trained("bfloat16", tmp_path / "blocks.pt")
        with pytest.raises(TrainingError, match="checkpoint"):
            trained("float32", tmp_path / "blocks.pt")
        with pytest.raises(ConfigurationError, match="precision"):
            trained("float16")  # type: ignore[arg-type]

    def test_a_teacher_answers_in_full_precision_whatever_its_students_compute_in(self, quiet):
        inputs = images().images
        with torch.autocast("cpu", torch.bfloat16):
            scores = denoise.Teacher(quiet)(inputs)
        assert torch.equal(scores, denoise.Teacher(quiet)(inputs))

    def test_blocks_of_a_population_serve_new_chips_and_fine_tuning_serves_one(self, network):
        variation = Variation(gain_mismatch=0.5, offset_mismatch=0.5)
        noisy = analog.convert(network, Chip(7, variation))
        analog.calibrate(noisy, images())
        quiet = denoise.insert(noisy, ["stage1", "stage2"], images().images)

        def off(model: nn.Module) -> float:
            """Divergence of the classes from the clean network's on images that training does not see."""
            with torch.no_grad():
                return float(Objective()(model.eval(), *next(iter(images(200, 200, seed=2)))))

        options = {"learning_rate": 1e-2, "levels": NoiseLevels(1, 1, 0), "progress": False}
        denoise.train(quiet, images(400), 4, population=Population(chips=40), **options)
        others = [Chip(seed, variation) for seed in (101, 102, 103, 104, 105)]
        before, after, tuned = [], [], []
        for chip in others:
            analog.set_chip(quiet, chip)
            after.append(off(quiet))
            with denoise.without_blocks(quiet):
                before.append(off(quiet))
            own = copy.deepcopy(quiet)
            denoise.train(own, images(200), 4, **options)
            tuned.append(off(own))
        assert sum(after) < 0.8 * sum(before)
        assert sum(tuned) < 0.8 * sum(after)

    def test_levels_cover_their_range_and_clean(self):
        generator = torch.Generator().manual_seed(0)
        drawn = [NoiseLevels(0.5, 1.5, clean=0.25).draw(generator) for _ in range(2000)]
        loud = [level for level in drawn if level]
        assert 0.2 < 1 - len(loud) / 2000 < 0.3
        assert 0.5 <= min(loud) < 0.52
        assert 1.48 < max(loud) <= 1.5

    def test_bad_arguments_are_refused(self, noisy, quiet, network):
        with pytest.raises(ConfigurationError, match=r"train\.model"):
            denoise.train(noisy, images())
        with pytest.raises(ConfigurationError, match="analog"):
            denoise.train(denoise.insert(network, ["stage1"], images().images), images())
        for options in ({"epochs": 0}, {"learning_rate": 0.0}, {"learning_rate": float("nan")}):
            with pytest.raises(ConfigurationError, match=f"train.{next(iter(options))}"):
                denoise.train(quiet, images(), **options)
        for options in ({"objective": "task"}, {"levels": (0, 1)}, {"population": 100}):
            with pytest.raises(
                ConfigurationError, match=rf"train\.{next(iter(options))} = .*must be a quietbar\.denoise\."
            ):
                denoise.train(quiet, images(), **options)
        with pytest.raises(ConfigurationError, match=r"train\.data = \[\]: must be at least one batch"):
            denoise.train(quiet, [])
        for fields in ({"low": -1.0}, {"low": 2.0, "high": 1.0}, {"clean": 1.5}):
            with pytest.raises(ConfigurationError, match="levels"):
                NoiseLevels(**fields)
        for fields in ({"chips": -1}, {"chips": 1.5}, {"seed": -1}):
            with pytest.raises(ConfigurationError, match=f"population.{next(iter(fields))}"):
                Population(**fields)
        for fields in ({"task": -1}, {"temperature": 0}, {"distillation": 0}, {"features": float("inf")}):
            with pytest.raises(ConfigurationError, match="objective"):
                Objective(**fields)


class TestFrozenMeansFrozen:
    """Planted faults: each thaws a different part of the backbone, and each is caught by name."""

    def test_a_thawed_parameter(self, quiet, monkeypatch):
        thawed = quiet.stage3.conv.weight
        for module in (freezing, training):
            monkeypatch.setattr(module, "block_parameters", lambda model: [*block_parameters(model), thawed])
        with pytest.raises(BackboneChangedError, match=r"stage3\.conv\.weight$"):
            denoise.train(quiet, images(), 1, progress=False)

    def test_a_batch_norm_that_still_collects_statistics(self, network):
        model = analog.convert(network, Chip(7, Variation(sigma=0.5)), fold_batch_norm=False)
        analog.calibrate(model, images())
        quiet = denoise.insert(model, ["stage1"], images().images)
        quiet.stage2.bn.register_forward_pre_hook(lambda module, _: module.train() and None)
        with pytest.raises(BackboneChangedError, match=r"stage2\.bn\.num_batches_tracked, stage2\.bn\.running_mean"):
            denoise.train(quiet, images(), 1, progress=False)

    def test_without_a_fault_batch_norms_keep_their_statistics(self, network):
        model = analog.convert(network, Chip(7, Variation(sigma=0.5)), fold_batch_norm=False)
        analog.calibrate(model, images())
        quiet = denoise.insert(model, ["stage1"], images().images).train()
        hashes = denoise.backbone_hashes(quiet)
        assert "stage2.bn.running_var" in hashes
        denoise.train(quiet, images(), 1, progress=False)
        assert denoise.backbone_hashes(quiet) == hashes

    def test_a_single_bit_of_a_buffer_that_no_state_dict_shows(self, quiet):
        def measure(number: int, loss: float) -> None:
            quiet.stage4.conv.gain[0] = torch.nextafter(quiet.stage4.conv.gain[0], torch.tensor(9.0))

        with pytest.raises(BackboneChangedError, match=r"stage4\.conv\.gain"):
            denoise.train(quiet, images(), 1, on_epoch=measure, progress=False)
