"""Campaigns: mutants caught by simulation and proof, survivors told, and what was found kept for the next run."""

import json
import os
import signal
from pathlib import Path

import pytest

from quietbar.cli import main
from quietbar.contract import ConfigurationError, QuietbarError
from quietbar_cosim.build import design_of
from quietbar_cosim.mutants import campaign as campaigns
from quietbar_cosim.mutants.attempts import Attempt, run_attempts
from quietbar_cosim.mutants.benches import Bench, Planted, Refusal, refusals, together
from quietbar_cosim.mutants.campaign import Plan, run_plan
from quietbar_cosim.mutants.explained import EXPLAINED
from quietbar_cosim.mutants.kill_table import markdown, rows, unexplained
from quietbar_cosim.mutants.properties import properties
from quietbar_cosim.mutants.subjects import SUBJECTS, Subject
from quietbar_cosim.part_vectors import resize_vectors
from quietbar_cosim.planting import FAULT
from quietbar_cosim.vectors import Job
from quietbar_hw.mutation import find_faults, plant, sound_text

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

    monkeypatch.setattr(campaigns, "_build", lambda plan, bench: None)
    plan = Plan.make("resize", Subject(subject.component, (bench(always),)), 2, 1)
    with pytest.raises(QuietbarError, match="bulk finds fault with the sound design: AssertionError: never content"):
        run_plan(plan, tmp_path, 1, False, lambda line: None)


def test_survivors_are_told_until_they_are_explained(subject, tmp_path, monkeypatch):
    monkeypatch.setattr(campaigns, "_build", lambda plan, bench: None)
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


def test_faults_that_are_always_planted_are_there_or_the_campaign_does_not_begin(subject):
    part, benches = subject.component, subject.benches
    chosen = Subject(part, benches, always=lambda fault: fault.kind == "enable")
    faults = Plan.make("resize", chosen, 1, 1).planted.design.faults
    assert sum(fault.kind == "enable" for fault in faults) >= len(faults) - 1 > 0
    gone = Subject(part, benches, always=lambda fault: fault.what == "a line that nobody wrote")
    with pytest.raises(ConfigurationError, match=r"resize\.always"):
        Plan.make("resize", gone, 1, 1)


def test_mutants_of_other_hardware_have_another_fingerprint(subject):
    plans = [Plan.make("resize", subject, 1, seed) for seed in (1, 2)]
    other = SUBJECTS["register_slice"]()
    assert plans[0].hardware == plans[1].hardware != Plan.make("slice", other, 1, 1).hardware


def test_properties_of_the_catalogue_name_themselves_where_a_mutant_breaks_them(monkeypatch):
    """The register slice of 8 bits; its properties are about one of 2, in which the same line has the same fault."""
    part = SUBJECTS["register_slice"]().component
    text = sound_text(part)
    faults = [
        fault for fault in find_faults(text) if fault.what in ("or becomes and in a part", "o__valid is not reset")
    ]
    planted = Planted(part, plant(text, faults), None)
    bench = properties("streams/RegisterSlice", "queues/RegisterSlice")
    reports = []
    for number in range(len(faults) + 1):
        monkeypatch.setenv(FAULT, str(number))
        try:
            bench.run(planted)
            reports.append("")
        except QuietbarError as error:
            reports.append(str(error))
    by_fault = dict(zip(["sound", *(fault.kind for fault in faults)], reports, strict=True))
    assert "queues/RegisterSlice" in by_fault["operator"]
    assert by_fault["sound"] == by_fault["reset"] == "", "in proofs there is no reset"


def test_what_has_to_be_refused_and_is_not_is_told(subject):
    """The part that regroups streams has no port `error`: it refuses nothing."""
    vectors = resize_vectors(8, 4, 1, 1)
    planted = Planted(subject.component, None, design_of(subject.component, "top"))
    with pytest.raises(QuietbarError, match=r"a bad beat: .* but error has to be 0x4"):
        refusals([Refusal("a bad beat", (), 4)], Job("good", vectors)).run(planted)
    refusals([], Job("good", vectors)).run(planted)


def test_benches_together_report_what_each_finds():
    def finds(what):
        return lambda planted: (_ for _ in ()).throw(QuietbarError(what)) if what else None

    benches = [Bench("formal", what, finds(what), 1, 0) for what in ("one", "", "two")]
    with pytest.raises(QuietbarError, match="one; two"):
        together(*benches).run(None)
    assert together(*benches).compared == 3


def test_of_the_committed_mutants_each_is_caught_equal_or_explained():
    record = Path(__file__).parents[2] / "docs" / "results" / "mutants.json"
    parts = json.loads(record.read_text())["parts"]
    assert [facts["subject"] for facts in parts] == list(SUBJECTS)
    assert unexplained(parts) == []
    left = {
        (facts["subject"], f"{mutant['source']}: {mutant['what']}")
        for facts in parts
        for mutant in facts["mutants"]
        if not any(mutant["found"].values()) and not mutant["equivalent"]
    }
    assert left == set(EXPLAINED), "no reason without its mutant"


def test_the_command_refuses_unknown_parts(capsys):
    assert main(["mutate", "spice"]) == 2
    assert "PART = 'spice': must be one of 'requantizer'" in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.parametrize("name", SUBJECTS)
def test_every_bench_is_content_with_the_sound_design_and_catches_a_mutant(name, tmp_path):
    facts = run_plan(Plan.make(name, SUBJECTS[name](), 2, 5), tmp_path, 2, True, print)
    assert set(facts["sound"].values()) == {""}
    assert any(any(mutant["found"].values()) for mutant in facts["mutants"])
