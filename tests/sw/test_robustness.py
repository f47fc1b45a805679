"""A study runs every run once, survives SIGKILL, chooses on validation images, and reports what it measured."""

import json
import math
import os
import signal
import subprocess
import sys
import time
from dataclasses import asdict, replace
from pathlib import Path

import pytest
import torch
from torch import nn

from quietbar import analog, cli, models, noise
from quietbar.configuration import from_mapping
from quietbar.contract.errors import ConfigurationError, QuietbarError
from quietbar.contract.seeds import derive_seed
from quietbar.data import load
from quietbar.robustness import Study, StudyRecipe, read_study
from quietbar.robustness.noisy_weights import noisy_weights
from quietbar.robustness.report import correlations, markdown, plot, pooled_correlations
from quietbar.robustness.run import Run, Runner
from quietbar.sharpness import loss_sharpness
from quietbar.sharpness import method as make
from quietbar.training import DivergenceError

RECIPES = Path(__file__).parents[2] / "recipes" / "robustness"

SMALL = {
    "name": "small",
    "data": {"name": "digits", "train": 256, "validation": 60, "test": 60},
    "network": {"name": "digits"},
    "training": {"epochs": 2, "batch": 32, "learning_rate": 0.05, "checkpoint_every": 1},
    "noise": {"sweep": [0.0, 0.1], "choice": [0.1], "chips": [1, 2], "validation_chips": [3]},
    "seeds": [1],
    "sharpness_images": 64,
    "methods": [
        {"name": "base", "method": "plain"},
        {"name": "SAMSON", "method": "samson", "grid": [0.5], "options": {"p": math.inf}},
    ],
}


def recipe(**changes) -> StudyRecipe:
    return from_mapping(StudyRecipe, {**SMALL, **changes})


def runner(folder: Path, study: StudyRecipe | None = None, announce=lambda text: None) -> Runner:
    return Runner(study or recipe(), load("digits"), folder, announce)


def run_of(study: StudyRecipe, index: int) -> Run:
    method = study.methods[index]
    return Run(method, method.strengths[0], study.seeds[0])


# One run


@pytest.mark.parametrize("moment", [1, 9])
def test_a_run_killed_at_any_moment_ends_with_the_same_weights_bit_for_bit(tmp_path: Path, moment: int) -> None:
    """SIGKILL from outside, after so many checkpoints of the 16 batches."""
    study = recipe()
    run = run_of(study, 1)
    order = {"recipe": asdict(study), "folder": str(tmp_path / "killed"), "method": "SAMSON", "strength": 0.5}
    order |= {"seed": 1, "stages": ["training"]}
    program = (
        "import sys, time\n"
        "from quietbar import training\n"
        "write = training._write_checkpoint\n"
        "def slow(*arguments):\n"
        "    write(*arguments)\n"
        "    print('checkpoint', flush=True)\n"
        "    time.sleep(0.02)\n"
        "training._write_checkpoint = slow\n"
        "from quietbar.robustness import worker\n"
        "sys.exit(worker.main())\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdin is not None and process.stdout is not None
    process.stdin.write(json.dumps(order))
    process.stdin.close()
    for _ in range(moment):
        assert process.stdout.readline() == "checkpoint\n"
    time.sleep(0.01 * (moment % 3))
    os.kill(process.pid, signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    process.stdout.close()

    killed, straight = runner(tmp_path / "killed", study), runner(tmp_path / "straight", study)
    assert not killed.found(run), "it was killed before its end"
    assert list((tmp_path / "killed").glob("training-*/checkpoint.pt"))
    first, second = killed.training(run), straight.training(run)
    assert first.key == second.key
    assert (first.folder / "network.pt").read_bytes() == (second.folder / "network.pt").read_bytes()
    measured = ("loss", "steps", "skipped steps", "gradient evaluations")
    assert [first.values[name] for name in measured] == [second.values[name] for name in measured]
    assert first.values["steps"] == 16 and first.values["gradient evaluations"] == 32


def test_stages_that_are_done_are_read_and_others_are_addressed_by_what_decides_them(tmp_path: Path) -> None:
    heard: list[str] = []
    study = recipe()
    first = runner(tmp_path, study, heard.append)
    run = run_of(study, 0)
    values = first.validation(run).values
    heard.clear()
    assert runner(tmp_path, study, heard.append).validation(run).values == values
    assert heard and all("done before" in text for text in heard)

    def key(changed: StudyRecipe, which: Run) -> str:
        return runner(tmp_path, changed)._training_settings(which)

    settings = key(study, run)
    changes = [
        (replace(study, training=replace(study.training, learning_rate=0.06)), run),
        (replace(study, training=replace(study.training, epochs=3)), run),
        (replace(study, data=replace(study.data, train=255)), run),
        (replace(study, threads=2), run),
        (study, replace(run, seed=2)),
        (study, run_of(study, 1)),
        (study, replace(run, method=replace(run.method, epochs=4))),
    ]
    for changed, which in changes:
        assert key(changed, which) != settings
    again = runner(tmp_path, replace(study, sharpness_images=65)).found(run)
    assert "validation" in again and "sharpness" not in again, "each measurement is addressed by what decides it"
    same = [
        (replace(study, training=replace(study.training, checkpoint_every=7)), run),
        (replace(study, noise=replace(study.noise, sweep=(0.0, 0.1, 0.3))), run),
        (study, replace(run, method=replace(run.method, name="renamed"))),
    ]
    for changed, which in same:
        assert key(changed, which) == settings
    assert not runner(tmp_path, same[1][0]).found(run).get("validation"), "but other levels are measured anew"


def test_a_training_that_diverges_is_a_result_and_no_failure(tmp_path: Path, monkeypatch) -> None:
    def diverge(*arguments, **options):
        raise DivergenceError("the loss is nan in epoch 1, batch 3: lower the learning rate or look at the inputs")

    monkeypatch.setattr("quietbar.robustness.run.fit", diverge)
    study = recipe()
    found = runner(tmp_path, study).validation(run_of(study, 0))
    assert "lower the learning rate" in found.values["diverged"]
    assert Study(study, tmp_path).chosen(study.methods[0]) == (False, None)
    assert "| base |  | diverged |" in markdown(Study(study, tmp_path).results())


def test_a_gpu_is_used_where_there_is_one_and_its_results_are_addressed_apart(tmp_path: Path, monkeypatch) -> None:
    """Without one: the choice and the addresses only."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    plain, auto = runner(tmp_path), runner(tmp_path, recipe(processor="auto"))
    run = run_of(plain.recipe, 0)
    assert auto.processor == torch.device("cpu") and auto._training_settings(run) == plain._training_settings(run)
    assert "processor" not in plain._training_settings(run), "results of before there was a choice are still found"
    with pytest.raises(ConfigurationError, match="processor = 'cuda': must be 'cpu' or 'auto': PyTorch finds no GPU"):
        runner(tmp_path, recipe(processor="cuda"))
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "a GPU")
    monkeypatch.setattr(torch, "use_deterministic_algorithms", lambda *a, **k: None)
    monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", "")
    found = runner(tmp_path, recipe(processor="auto"))
    assert found.processor.type == "cuda" and found._training_settings(run)["processor"] == "a GPU"
    assert runner(tmp_path).processor == torch.device("cpu")


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_run_on_a_gpu_trains_and_measures_there(tmp_path: Path) -> None:
    study = recipe(processor="cuda")
    found = runner(tmp_path, study)
    run = run_of(study, 1)
    for stage in (found.validation, found.sharpness, found.test):
        assert "diverged" not in stage(run).values
    assert found.training(run).values["steps"] == 16


# What is measured


def test_noisy_weights_are_the_chips_own_and_go_back_bit_for_bit() -> None:
    model = models.create("digits")
    before = {name: value.clone() for name, value in model.state_dict().items()}
    seen = {}
    for chip, sigma in ((1, 0.1), (1, 0.2), (2, 0.1)):
        with noisy_weights(model, sigma, chip):
            state = model.state_dict()
            seen[chip, sigma] = {name: state[name] - before[name] for name in before}
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    for name in before:
        noise = seen[1, 0.1][name]
        if before[name].dim() < 2:
            assert not noise.any(), f"{name} is not held by the chip"
            continue
        assert torch.allclose(2 * noise, seen[1, 0.2][name], rtol=1e-3, atol=1e-5), "the same devices at every level"
        assert not torch.allclose(noise, seen[2, 0.1][name], rtol=0.1), "another chip has others"
    largest = float(before["stage4.conv.weight"].abs().max())
    assert float(seen[1, 0.1]["stage4.conv.weight"].std()) == pytest.approx(0.1 * largest, rel=0.05)


def test_chips_are_those_of_before_whatever_the_processor() -> None:
    """Written anew: a generator on the CPU, one draw for each layer in turn."""
    model = models.create("digits")
    weights = [each.detach().clone() for each in model.parameters() if each.dim() > 1]
    generator = torch.Generator().manual_seed(derive_seed(5, "conductance noise"))
    expected = [w + 0.1 * w.abs().max() * torch.randn(w.shape, generator=generator) for w in weights]
    with noisy_weights(model, 0.1, 5):
        found = [each.detach().clone() for each in model.parameters() if each.dim() > 1]
    assert all(torch.allclose(one, two, rtol=1e-6, atol=1e-7) for one, two in zip(found, expected, strict=True))


def test_loss_sharpness_on_a_quadratic_is_known() -> None:
    """A linear layer with one class score pair: the rise of the cross entropy, computed in float64 from its formula."""
    torch.manual_seed(0)
    model = nn.Linear(4, 2, bias=False).double()
    inputs, labels = torch.randn(6, 4, dtype=torch.float64), torch.tensor([0, 1, 1, 0, 1, 0])
    weight = model.weight.detach().numpy().copy()

    def loss(values):
        scores = inputs.numpy() @ values.T
        total = 0.0
        for row, label in zip(scores, labels.tolist(), strict=True):
            total += math.log(sum(math.exp(score) for score in row)) - row[label]
        return total / len(labels)

    gradient = weight * 0
    for index in range(weight.size):
        step = weight * 0
        step.flat[index] = 1e-6
        gradient.flat[index] = (loss(weight + step) - loss(weight - step)) / 2e-6
    for variant, operator in (
        ("sam", weight * 0 + 1),
        ("asam", abs(weight)),
        ("samson", abs(weight) / abs(weight).max()),
    ):
        norm = math.sqrt(((operator * gradient) ** 2).sum())
        rise = loss(weight + 0.3 * operator**2 * gradient / norm) - loss(weight)
        found = loss_sharpness(model, [(inputs, labels)], variant, 0.3, p=math.inf)
        assert found == pytest.approx(rise, rel=1e-6)
    assert (model.weight.detach().numpy() == weight).all() and model.weight.grad is None
    with pytest.raises(ConfigurationError, match="at least one batch"):
        loss_sharpness(model, [])


# A study


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """The command on a recipe with a grid, and what it wrote."""
    folder = tmp_path_factory.mktemp("study")
    words = ["robustness", str(RECIPES / "digits.toml"), "--folder", str(folder), "--jobs", "2"]
    for change in (
        "training.epochs=4",
        "seeds=[1]",
        "noise.sweep=[0.0, 0.1]",
        "noise.choice=[0.1]",
        "noise.chips=[1, 2]",
        "noise.validation_chips=[3]",
        "sharpness_images=50",
        'devices={name="pcm", seconds=[20, 86400]}',
        'methods=[{name="base", method="plain"}, {name="SAM", method="sam", grid=[0.05, 0.2]}]',
    ):
        words += ["--set", change]
    assert cli.main(words) == 0
    return folder, words


def test_a_study_leaves_results_report_and_plot(finished) -> None:
    folder, _ = finished
    results = json.loads((folder / "results.json").read_text())
    assert results["complete"] and len(results["runs"]) == 3
    assert results["chosen"]["base"] is None and results["chosen"]["SAM"] in (0.05, 0.2)
    tested = [(run["method"], run["strength"]) for run in results["runs"] if "test" in run]
    assert tested == [("base", None), ("SAM", results["chosen"]["SAM"])], "test images meet only what was chosen"
    report = (folder / "report.md").read_text()
    assert report == markdown(results)
    assert "| base |  | 1 | 80 |" in report and "| 160 |" in report, "gradient evaluations: 20 batches, 4 epochs"
    assert (folder / "report.svg").read_text().startswith("<?xml")
    assert set(correlations(results)) == {"SAM", "ASAM", "SAMSON(2)", "SAMSON(inf)", "layer(inf)"}
    assert "## Weights held by `pcm`" in report and "| method | strength | seeds | 20 s | 1 day |" in report


def test_devices_hold_the_weights_of_what_was_chosen(finished) -> None:
    """Chip 2 after a day, by hand."""
    results = json.loads((finished[0] / "results.json").read_text())
    run = next(run for run in results["runs"] if run["method"] == "base")
    ages = run["devices"]["accuracy"]
    assert [age["seconds"] for age in ages] == [20.0, 86_400.0] and all(len(age["accuracies"]) == 2 for age in ages)
    model = models.create("digits")
    (weights,) = (
        path
        for path in finished[0].glob("training-*/network.pt")
        if json.loads((path.parent / "result.json").read_text())["settings"]["method"][0] == "plain"
    )
    model.load_state_dict(torch.load(weights, weights_only=True))
    chip = noise.Chip(2, conductance=replace(noise.presets.pcm, seconds=86_400.0))
    held = analog.convert(model.eval(), chip)
    test = load("digits").batches("test", 250)
    assert models.accuracy(held, test) == ages[1]["accuracies"][1]
    assert ages[0]["accuracies"] != ages[1]["accuracies"]
    tested = {run["method"]: run["strength"] for run in results["runs"] if "devices" in run}
    assert tested == results["chosen"]


def test_the_strength_with_the_best_validation_accuracy_under_noise_is_chosen(finished) -> None:
    results = json.loads((finished[0] / "results.json").read_text())
    scores = {
        run["strength"]: sum(run["validation"]["accuracy"][1]["accuracies"])
        for run in results["runs"]
        if run["method"] == "SAM"
    }
    best = max(scores.values())
    assert results["chosen"]["SAM"] == min(strength for strength, score in scores.items() if score == best)


def test_a_second_call_runs_nothing_and_says_the_same(finished, monkeypatch) -> None:
    folder, words = finished
    before = (folder / "results.json").read_bytes()
    monkeypatch.setattr(subprocess, "run", lambda *a, **k: pytest.fail("a run was started again"))
    assert cli.main(words) == 0
    assert (folder / "results.json").read_bytes() == before


def test_a_report_may_be_had_of_what_is_finished(finished, tmp_path: Path) -> None:
    _, words = finished
    words = list(words)
    words[words.index("--folder") + 1] = str(tmp_path)
    assert cli.main([*words, "--report"]) == 0
    assert "Not finished" in (tmp_path / "report.md").read_text()
    assert json.loads((tmp_path / "results.json").read_text())["runs"] == []


def test_a_run_that_fails_is_named(tmp_path: Path) -> None:
    """Of two runs, the one whose record is damaged."""
    study = recipe()
    damaged = runner(tmp_path, study).validation(run_of(study, 1))
    (damaged.folder / "result.json").unlink()
    (training,) = tmp_path.glob("training-*")
    (training / "network.pt").write_bytes(b"")
    with pytest.raises(QuietbarError, match=r"run SAMSON 0.5, seed 1: .*network.pt.* is damaged"):
        Study(study, tmp_path, lambda text: None).execute()


def study_of(pairs):
    """Results of networks that lose so much, at so much sharpness."""
    runs = [
        {
            "method": "base",
            "validation": {"accuracy": [{"sigma": s, "accuracies": [90 - lost * 10 * s]} for s in (0.0, 0.1)]},
            "sharpness": {"SAM": sharpness},
        }
        for lost, sharpness in pairs
    ]
    return {"study": {"noise": {"choice": [0.1]}}, "runs": runs}


def test_correlations_over_studies_compare_ranks_within_each(tmp_path: Path) -> None:
    """One study loses ten times as much at a tenth of the sharpness: pooled values would say the reverse."""
    first = study_of([(1.0, 10.0), (2.0, 20.0), (3.0, 30.0), (4.0, 50.0)])
    second = study_of([(10.0, 1.0), (20.0, 2.0), (30.0, 3.0), (40.0, 5.0)])
    for each in (first, second):
        assert correlations(each)["SAM"]["spearman"] == pytest.approx(1.0)
    assert pooled_correlations([first, second])["SAM"] == {"spearman": pytest.approx(1.0), "networks": 8}
    merged = {**first, "runs": [*first["runs"], *second["runs"]]}
    assert correlations(merged)["SAM"]["spearman"] < 0, "the check would not notice pooled values"
    mixed = study_of([(1.0, 3.0), (2.0, 1.0), (3.0, 2.0), (4.0, 5.0), (5.0, 4.0)])
    rank = correlations(mixed)["SAM"]["spearman"]
    assert pooled_correlations([mixed])["SAM"]["spearman"] == pytest.approx(rank) and 0.3 < rank < 0.9
    assert pooled_correlations([]) == {}
    for name, results in (("one", first), ("two", second)):
        results["study"]["name"] = name
        (tmp_path / f"{name}.json").write_text(json.dumps(results))
    tool = [sys.executable, str(RECIPES.parents[1] / "tools" / "sharpness_correlations.py")]
    done = subprocess.run(
        [*tool, *map(str, sorted(tmp_path.glob("*.json")))], capture_output=True, text=True, check=True
    )
    assert "| SAM | +1.00 | +1.00 |" in done.stdout and "8 networks, of studies with [4, 4] runs." in done.stdout


def test_plots_need_no_finished_run(tmp_path: Path) -> None:
    results = Study(recipe(), tmp_path).results()
    plot(results, tmp_path / "empty.svg")
    assert (tmp_path / "empty.svg").exists() and json.dumps(results, allow_nan=False)


# Recipes


@pytest.mark.parametrize("path", sorted(RECIPES.glob("*.toml")), ids=lambda path: path.stem)
def test_the_recipes_of_the_repository_are_valid(path: Path) -> None:
    study = read_study(path)
    assert study.name == path.stem and len(study.methods) > 1
    for method in study.methods:
        for strength in method.strengths:
            model = nn.Linear(2, 2)
            base = torch.optim.SGD(model.parameters(), lr=0.1)
            make(method.method, base, strength, model=model, **method.options)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"name": "a/b"}, "name = 'a/b': must be made of letters"),
        ({"seeds": []}, r"seeds = \[\]: must be at least one seed"),
        ({"seeds": [1, 1]}, "seeds = .*: must be different seeds"),
        ({"methods": []}, "methods = .*: must be at least one method"),
        ({"methods": [{"name": "a", "method": "plain", "grid": [1]}]}, "methods.a.grid = .*: must be left out"),
        ({"methods": [{"name": "a", "method": "sam"}]}, "methods.a.grid = .*: must be at least one strength"),
        ({"methods": [{"name": "a", "method": "sam", "grid": [0]}]}, r"methods.a.grid\[0\] = 0.*: must be a number"),
        ({"methods": [{"name": "a", "method": "sharp"}]}, "must be one of 'plain', 'sam'"),
        ({"noise": {"sweep": [0.1]}}, "noise.sweep = .*: must be levels from 0 upwards"),
        ({"noise": {"sweep": [0.0, 0.1], "choice": [0.2]}}, "noise.choice = .*: must be at least one level of"),
        (
            {"noise": {"validation_chips": [1]}},
            r"noise.validation_chips = .*other chips than noise.chips \(common: \[1",
        ),
        ({"training": {"epochs": 0}}, "training.epochs = 0: must be an integer from 1"),
        ({"data": {"name": "digits", "train": 0}}, "data.train = 0: must be an integer from 1"),
        ({"devices": {"name": "flash", "seconds": [20]}}, "devices.name = 'flash': must be one of 'exact', 'pcm'"),
        ({"devices": {"name": "pcm", "seconds": []}}, r"devices.seconds = \[\]: must be at least one time"),
        ({"devices": {"name": "pcm", "seconds": [60, 30]}}, "devices.seconds = .*: must be ascending"),
        ({"devices": {"name": "pcm", "seconds": [1, 30]}}, r"devices.seconds\[0\] = 1.0: must be .* at least 20"),
        ({"sharpness_images": 0}, "sharpness_images = 0: must be an integer from 1"),
        ({"epoch": 1}, "epoch = 1: must be absent"),
        ({"processor": "gpu"}, "processor = 'gpu': must be one of 'cpu', 'cuda', 'auto'"),
        ({"data": {"name": "digit"}}, "data.name = 'digit': must be one of 'digits', 'cifar10'"),
        ({"network": {"name": "resnet21"}}, "network.name = 'resnet21': must be one of 'digits'"),
        ({"network": {"name": "vgg11", "pretrained": True}}, "network.pretrained = True: must be false: .* resnet56"),
    ],
)
def test_bad_recipes_are_refused_by_name(changes: dict, message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        recipe(**changes)


@pytest.mark.parametrize(
    ("method", "grid", "options", "message"),
    [
        ("sam", [0.1], {"eta": -1}, "methods.row.options.eta = -1: must be a finite number of at least 0"),
        ("sam", [0.1], {"etc": 1}, "methods.row.options.etc = 1: must be absent: sam knows base_optimizer, variant"),
        ("sam", [0.1], {"rho": 1}, "methods.row.options.rho = 1: must be left out: the study gives it"),
        ("sam", [0.1], {"model": "a"}, "methods.row.options.model = 'a': must be left out"),
        ("sam", [0.1], {"clipping": 0}, "methods.row.options.clipping = 0: must be above 0"),
        ("sam", [0.1], {"workers": "alone"}, "methods.row.options.workers = 'alone': must be 'together'"),
        ("samson", [0.1], {"p": 3}, "methods.row.options.p = 3: must be one of 2, inf"),
        ("samson", [0.1], {"exclude": "bn*"}, r"options.exclude = 'bn\*': must be a pattern that fits a parameter's"),
        ("samson", [0.1], {"exclude": [1]}, r"options.exclude = \[1\]: must be a pattern or a list of patterns"),
        ("noise", [0.1], {"seed": -1}, "methods.row.options.seed = -1: must be"),
        ("clipping", [2.0], {"unit": "codes"}, "methods.row.options.unit = 'codes': must be one of 'std', 'absolute'"),
        ("plain", [], {"exclude": "a"}, "methods.row.options.exclude = 'a': must be absent: plain knows"),
    ],
)
def test_a_methods_options_are_checked_with_the_recipe(method, grid, options, message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        recipe(methods=[{"name": "row", "method": method, "grid": grid, "options": options}])


def test_options_fit_the_recipes_own_network() -> None:
    """``stage4`` is a layer of the digits' network and of no other."""
    row = {"name": "row", "method": "sam", "grid": [0.1], "options": {"exclude": "stage4.*"}}
    assert recipe(methods=[row]).methods[0].options == row["options"]
    with pytest.raises(ConfigurationError, match=r"options\.exclude = .stage4"):
        recipe(methods=[row], network={"name": "resnet20"})


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--set", "methods=[{name='row', method='sam', grid=[0.1], options={p=3}}]"], "methods.row.options.p = 3"),
        (["--jobs", "0"], "jobs = 0: must be an integer from 1"),
        (["--folder", str(RECIPES / "digits.toml")], "must be a folder's name"),
        (["--folder", str(RECIPES / "digits.toml" / "study")], "must be a folder's name"),
        (["--set", "processor='cuda'"], "processor = 'cuda': must be 'cpu' or 'auto'"),
    ],
)
def test_what_is_wrong_is_said_before_any_data_is_loaded(words, message: str, monkeypatch, capsys, tmp_path) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr("quietbar.robustness.study.load", lambda *a: pytest.fail("data was loaded"))
    folder = [] if "--folder" in words else ["--folder", str(tmp_path)]
    assert cli.main(["robustness", str(RECIPES / "digits.toml"), *folder, *words]) == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    ("network", "message"),
    [
        ("small", "network.name = 'small': must be a network for images of 1 x 8 x 8, which digits has"),
        ("small-gray", None),
    ],
)
def test_a_network_that_is_not_for_the_data_is_refused_before_any_run(network, message, monkeypatch, tmp_path) -> None:
    monkeypatch.setattr(Study, "_start", lambda *a: pytest.fail("a run was started"))
    study = Study(recipe(network={"name": network}), tmp_path, lambda text: None)
    if message is None:
        with pytest.raises(pytest.fail.Exception, match="a run was started"):
            study.execute()
        return
    with pytest.raises(ConfigurationError, match=message):
        study.execute()
