"""Plant faults in the RTL, one at a time, and see which bench or proof catches each: a kill table.

Operators, constants, widths, enables, conditions and resets of each part are changed in the elaborated design; the
sound design goes through the same benches first. What is found is kept in build/mutants and taken from there while
hardware, faults and benches are the same, so an interrupted campaign resumes. The exit status is 1 where a mutant is
neither caught, nor proven equal to the sound design, nor explained.
"""

from __future__ import annotations

import argparse
import json
import os
from pathlib import Path

SEED = 1


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument("part", nargs="*", metavar="PART", help="only these parts (all)")
    parser.add_argument("--count", type=int, default=6, help="mutants of each part (%(default)s)")
    parser.add_argument("--seed", type=int, default=SEED, help="of the choice of faults (%(default)s)")
    parser.add_argument("--jobs", type=int, default=1, help="processes at a time (%(default)s)")
    parser.add_argument(
        "--every-bench", action="store_true", help="run cocotb's benches on mutants that are caught, too"
    )
    parser.add_argument("--folder", type=Path, default=Path("build/mutants"), help="what was found (%(default)s)")
    parser.add_argument("--write", type=Path, metavar="FOLDER", help="renew these parts in the record there")


def execute(arguments: argparse.Namespace) -> int:
    """Plant, run, and print."""
    from quietbar.contract.errors import require_choice, require_integer
    from quietbar.contract.seeds import check_seed
    from quietbar.experiment.results import text_table
    from quietbar.files import write_atomically
    from quietbar_cosim.mutants.campaign import Plan, run_plan
    from quietbar_cosim.mutants.kill_table import HEADER, markdown, rows, unexplained
    from quietbar_cosim.mutants.renewing import renewed
    from quietbar_cosim.mutants.subjects import SUBJECTS

    for name in arguments.part:
        require_choice("PART", name, tuple(SUBJECTS))
    require_integer("--count", arguments.count, 1, 1000)
    require_integer("--jobs", arguments.jobs, 1, 256)
    check_seed(arguments.seed, "--seed")
    os.nice(max(0, 10 - os.nice(0)))
    campaign = []
    for name in arguments.part or SUBJECTS:
        plan = Plan.make(name, SUBJECTS[name](), arguments.count, arguments.seed)
        first = not arguments.every_bench
        campaign.append(run_plan(plan, arguments.folder, arguments.jobs, first, lambda line: print(line, flush=True)))
    print(text_table(HEADER, rows(campaign)))
    command = f"quietbar mutate --count {arguments.count}"
    command += f" --seed {arguments.seed}" if arguments.seed != SEED else ""
    command += " --every-bench" if arguments.every_bench else ""
    for folder in (arguments.folder / "table", *([arguments.write] if arguments.write else [])):
        file = folder / "mutants.json"
        parts = renewed(file, "subject", command, campaign) if folder == arguments.write else campaign
        write_atomically(file, json.dumps({"command": command, "parts": parts}, indent=1) + "\n")
        write_atomically(folder / "mutants.md", markdown(parts, command))
    return 1 if unexplained(campaign) else 0
