"""Campaigns: mutants caught by simulation and proof, survivors told, and what was found kept for the next run."""

import json
import os
import signal

import pytest

from quietbar.cli import main
from quietbar.contract import QuietbarError
from quietbar_cosim.mutants import campaign as campaigns
from quietbar_cosim.mutants.attempts import Attempt, run_attempts
from quietbar_cosim.mutants.benches import Bench
from quietbar_cosim.mutants.campaign import Plan, run_plan
from quietbar_cosim.mutants.explained import EXPLAINED
from quietbar_cosim.mutants.kill_table import markdown, rows, unexplained
from quietbar_cosim.mutants.subjects import SUBJECTS, Subject

COUNT = 6


@pytest.fixture(scope="module")
def subject():
    """The part that regroups streams, without its cocotb bench, which takes the longest to build."""
    sound = SUBJECTS["resize"]()
    return Subject(sound.component, tuple(bench for bench in sound.benches if bench.name != "cocotb"))


@pytest.fixture(scope="module")
def finished(subject, tmp_path_factory):
    """A campaign that ran every bench."""
    folder, said = tmp_path_factory.mktemp("mutants"), []
    plan = Plan.make("resize", subject, COUNT, 1)
    return plan, folder, run_plan(plan, folder, 2, False, said.append), said


def test_mutants_are_caught_and_the_sound_design_is_not(finished):
    _, _, facts, said = finished
    assert facts["sound"] == {"bulk": "", "formal": ""}
    caught = {name: sum(bool(mutant["found"][name]) for mutant in facts["mutants"]) for name in ("bulk", "formal")}
    assert caught["bulk"] >= 4 and caught["formal"] >= 1
    assert len(said) >= COUNT and "resize 1: top.inner (" in "".join(said)
    assert {mutant["kind"] for mutant in facts["mutants"]} >= {"operator", "constant", "width", "reset"}


def test_an_interrupted_campaign_resumes(finished, monkeypatch):
    """The file without its last result: that attempt alone is made again."""
    plan, folder, facts, _ = finished
    path = folder / "resize.json"
    known = json.loads(path.read_text())
    assert known == facts
    del known["mutants"][-1]["found"]["formal"]
    path.write_text(json.dumps(known))
    made = []

    def counted(attempts, jobs):
        listed = list(attempts)
        made.extend((attempt.number, attempt.bench.name) for attempt in listed)
        return run_attempts(listed, jobs)

    monkeypatch.setattr(campaigns, "run_attempts", counted)
    assert run_plan(plan, folder, 1, False, lambda line: None) == facts
    assert made == [(COUNT, "formal")]
    assert json.loads(path.read_text()) == facts


def test_other_faults_make_another_campaign(finished, subject):
    plan = finished[0]
    assert plan.key == Plan.make("resize", subject, COUNT, 1).key
    assert plan.key != Plan.make("resize", subject, COUNT, 2).key
    assert plan.key != Plan.make("resize", Subject(subject.component, subject.benches[:1]), COUNT, 1).key


def bench(run):
    return Bench("bulk", "", lambda planted: run())


def outcome(run, number=1):
    ((_, found),) = run_attempts([Attempt(number, bench(run), None)], 1)
    return found


def report_and_end():
    os.kill(os.getpid(), signal.SIGABRT)


def fail_to_write():
    raise OSError("no space left on device")


def test_a_mutant_that_ends_its_simulator_is_caught_and_a_full_disk_is_not_a_catch():
    assert outcome(report_and_end).report == "the simulator ends with SIGABRT"
    assert not outcome(lambda: None).caught
    with pytest.raises(QuietbarError, match="bulk on mutant 1: OSError: no space left"):
        outcome(fail_to_write)
    with pytest.raises(QuietbarError, match="ended from outside"):
        outcome(lambda: os.kill(os.getpid(), signal.SIGKILL))


def test_a_bench_that_finds_fault_with_the_sound_design_ends_the_campaign(subject, tmp_path, monkeypatch):
    def always():
        raise AssertionError("never content")

    monkeypatch.setattr(campaigns, "_build", lambda plan: None)
    plan = Plan.make("resize", Subject(subject.component, (bench(always),)), 2, 1)
    with pytest.raises(QuietbarError, match="bulk finds fault with the sound design: AssertionError: never content"):
        run_plan(plan, tmp_path, 1, False, lambda line: None)


def test_survivors_are_told_until_they_are_explained(subject, tmp_path, monkeypatch):
    monkeypatch.setattr(campaigns, "_build", lambda plan: None)
    plan = Plan.make("resize", Subject(subject.component, (bench(lambda: None),)), 2, 3)
    said = []
    facts = run_plan(plan, tmp_path, 1, False, said.append)
    left = unexplained([facts])
    assert left and any("SURVIVES" in line for line in said)
    assert rows([facts])[0][:3] == ["resize", "2", "0"]
    assert "UNEXPLAINED" in markdown([facts], "quietbar mutate resize")
    for mutant in left:
        monkeypatch.setitem(EXPLAINED, ("resize", f"{mutant['source']}: {mutant['what']}"), "nobody looks")
    assert unexplained([facts]) == []
    assert "nobody looks." in markdown([facts], "quietbar mutate resize")


def test_the_command_refuses_unknown_parts(capsys):
    assert main(["mutate", "spice"]) == 2
    assert "PART = 'spice': must be one of 'requantizer'" in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.parametrize("name", SUBJECTS)
def test_every_bench_is_content_with_the_sound_design_and_catches_a_mutant(name, tmp_path):
    facts = run_plan(Plan.make(name, SUBJECTS[name](), 2, 5), tmp_path, 2, True, print)
    assert set(facts["sound"].values()) == {""}
    assert any(any(mutant["found"].values()) for mutant in facts["mutants"])
