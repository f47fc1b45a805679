"""Properties proven one after the other: verdicts kept, and taken from there while nothing has changed."""

from __future__ import annotations

import hashlib
import json
import resource
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from quietbar import toolchain
from quietbar.files import write_atomically

from .properties.property import Property
from .prove import ProofError


@dataclass(frozen=True)
class Result:
    """What came of a property.

    Attributes:
        name, says: of the property.
        method, depth: how it was proven, see :class:`quietbar_hw.formal.Verdict`.
        verdict: ``proven``, ``broken``, or ``none`` where the solver gave up.
        seconds: of processor time.
        detail: the trace that breaks it, or why there is no verdict.
        kept: whether it was taken from an earlier run.
    """

    name: str
    says: str
    method: str
    depth: int
    verdict: str
    seconds: float
    detail: str = ""
    kept: bool = False


def prove_all(
    properties: Iterable[Property], cache: Path | None = None, tell: Callable[[Result], None] = lambda result: None
) -> list[Result]:
    """Prove the properties in order; each verdict is kept in ``cache`` as soon as it is there, and told."""
    results = []
    for each in properties:
        file = None if cache is None else cache / f"{_digest(each)}.json"
        if file is not None and file.is_file():
            result = replace(Result(**json.loads(file.read_text())), kept=True)
        else:
            result = _prove(each)
            if file is not None and result.verdict != "none":
                write_atomically(file, json.dumps(asdict(result), indent=2) + "\n")
        tell(result)
        results.append(result)
    return results


def _prove(each: Property) -> Result:
    before = _processor_time()
    try:
        verdict = each.prove()
    except ProofError as error:
        method, depth, word, detail = each.method, each.depth, "none", str(error)
    else:
        method, depth, detail = verdict.method, verdict.depth, verdict.trace
        word = "proven" if verdict.holds else "broken"
    return Result(each.name, each.says, method, depth, word, round(_processor_time() - before, 1), detail)


def _digest(each: Property) -> str:
    """Of all that a verdict depends on: the design with its assertions, the method, and Yosys."""
    material = (each.rtlil(), each.name, each.says, each.method, each.depth, each.free, toolchain.yosys().version)
    return hashlib.sha256(repr(material).encode()).hexdigest()[:16]


def _processor_time() -> float:
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(each.ru_utime + each.ru_stime for each in used)


def table(results: Iterable[Result]) -> Iterator[tuple[str, str, str, str, str]]:
    """Rows of text: property, method, depth, verdict, seconds. Properties that differ in a number alone share one."""
    rows: dict[tuple[str, str, str], list[Result]] = {}
    for result in results:
        subject = result.name.partition(", shift ")[0]
        rows.setdefault((subject, result.method, result.verdict), []).append(result)
    for (subject, method, verdict), group in rows.items():
        name = subject if len(group) == 1 else f"{subject} ({len(group)} shifts)"
        yield (
            name,
            method,
            str(max(each.depth for each in group)),
            verdict,
            f"{sum(each.seconds for each in group):.1f}",
        )
