"""Properties proven, several at a time: verdicts kept, and taken from there while nothing has changed."""

from __future__ import annotations

import hashlib
import inspect
import json
import multiprocessing
import resource
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from quietbar import toolchain
from quietbar.files import write_atomically

from .properties.property import Property
from .prove import prove_rtlil
from .yosys import ProofError, Yosys


@dataclass(frozen=True)
class Result:
    """What came of a property.

    Attributes:
        name, says: of the property.
        method, depth, kept: how it was proven, see :class:`quietbar_hw.formal.Verdict`.
        verdict: ``proven``, ``broken``, or ``none`` where the solver gave up.
        seconds: of processor time.
        design: digest of all that the verdict depends on.
        detail: the trace that breaks it, or why there is no verdict.
        known: whether it was taken from an earlier run.
    """

    name: str
    says: str
    method: str
    depth: int
    kept: int
    verdict: str
    seconds: float
    design: str
    detail: str = ""
    known: bool = False


def prove_all(
    properties: Iterable[Property],
    cache: Path | None = None,
    tell: Callable[[Result], None] = lambda result: None,
    jobs: int = 1,
) -> list[Result]:
    """Prove the properties; each verdict is kept in ``cache`` as soon as it is there, and told, in order.

    Args:
        properties: to be proven.
        cache: folder of verdicts; without it none is kept.
        tell: called with each result.
        jobs: processes at a time. Each is forked off this one, and has one solver beside it.
    """
    chosen, results = tuple(properties), []

    def take(found: Iterable[Result]) -> list[Result]:
        for result in found:
            tell(result)
            results.append(result)
        return results

    if jobs == 1:
        return take(_verdict(each, cache) for each in chosen)
    global _at_hand
    _at_hand = chosen
    with ProcessPoolExecutor(jobs, multiprocessing.get_context("fork")) as pool:
        return take(pool.map(_verdict_by_number, range(len(chosen)), [cache] * len(chosen)))


_at_hand: Sequence[Property] = ()
"""For the forked processes: what a property is made with cannot be sent to them."""


def _verdict_by_number(number: int, cache: Path | None) -> Result:
    return _verdict(_at_hand[number], cache)


def _verdict(each: Property, cache: Path | None) -> Result:
    design = _digest(each)
    file = None if cache is None else cache / f"{design}.json"
    if file is not None and file.is_file():
        return replace(Result(**json.loads(file.read_text())), known=True)
    result = _prove(each, design)
    if file is not None and result.verdict != "none":
        write_atomically(file, json.dumps(asdict(result), indent=2) + "\n")
    return result


def _prove(each: Property, design: str) -> Result:
    before = _processor_time()
    kept, detail = 0, ""
    try:
        verdict = each.prove()
    except ProofError as error:
        depth, word, detail = each.depth, "none", str(error)
    else:
        depth, kept, detail = verdict.depth, verdict.kept, verdict.trace
        word = "proven" if verdict.holds else "broken"
    seconds = round(_processor_time() - before, 1)
    return Result(each.name, each.says, each.method, depth, kept, word, seconds, design, detail)


def _digest(each: Property) -> str:
    """Of all that a verdict depends on: the design with its assertions, the method and how it is carried out, Yosys."""
    carried_out = [Path(inspect.getfile(each)).read_text() for each in (prove_rtlil, Yosys)]
    how = (each.method, each.depth, each.free, carried_out, toolchain.yosys().version)
    return hashlib.sha256(repr((each.rtlil(), each.name, each.says, *how)).encode()).hexdigest()[:16]


def _processor_time() -> float:
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(each.ru_utime + each.ru_stime for each in used)


def table(results: Iterable[Result]) -> Iterator[tuple[str, str, str, str, str]]:
    """Rows of text: property, method, depth, verdict, seconds."""
    for each in results:
        yield each.name, each.method, str(each.depth), each.verdict, f"{each.seconds:.1f}"


def record(results: Sequence[Result]) -> dict[str, Any]:
    """The results as they are committed: without traces and paths."""
    names = ("name", "says", "method", "depth", "kept", "verdict", "seconds", "design")
    return {
        "command": "quietbar formal",
        "yosys": toolchain.yosys().version,
        "proven": sum(each.verdict == "proven" for each in results),
        "of": len(results),
        "seconds": round(sum(each.seconds for each in results), 1),
        "properties": [
            {**{name: getattr(each, name) for name in names}, "holds": each.verdict == "proven"} for each in results
        ],
    }


def families(facts: dict[str, Any]) -> Iterator[tuple[str, str, str, str, str]]:
    """Of a `record`: family, its properties and how many are proven, method, depths and seconds, as text."""
    groups: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for each in facts["properties"]:
        groups.setdefault((each["name"].partition("/")[0], each["method"]), []).append(each)
    for (family, how), group in groups.items():
        depths = sorted(each["depth"] for each in group)
        yield (
            f"{family}/...",
            f"{sum(each['holds'] for each in group)} of {len(group)}",
            how,
            str(depths[0]) if depths[0] == depths[-1] else f"{depths[0]} to {depths[-1]}",
            f"{sum(each['seconds'] for each in group):.1f}",
        )
