"""The proofs of `quietbar formal` on mutants: the same fault of the same source, in the designs that they are about."""

from __future__ import annotations

import functools
import hashlib
import re

from quietbar.contract import QuietbarError
from quietbar_hw.formal.properties.catalogue import PROPERTIES
from quietbar_hw.formal.prove import prove_rtlil
from quietbar_hw.formal.yosys import ProofError
from quietbar_hw.mutation import Fault, find_faults, plant

from ..planting import chosen_fault
from .benches import Bench, Planted

SECONDS = 60
"""After which a proof is given up, and so breaks nothing."""


def properties(*names: str) -> Bench:
    """These properties, each on its own design with the fault in it; one that is broken is named.

    They are about smaller configurations than the part. A fault is the same if it does the same to the same line of the
    source, numbers and widths aside; where a line has several such faults they are told apart by their order, if there
    are as many. A property without the fault in its design says nothing. `quietbar formal` proves it without.
    """

    def run(planted: Planted) -> None:
        number = chosen_fault()
        if not number:
            return
        fault, broken = planted.design.faults[number - 1], []
        alike = _alike(find_faults(planted.design.sound, lambda module: module == fault.module), fault)
        for name in names:
            same = _same(name, fault, alike.index(fault), len(alike))
            if same is not None and _breaks(name, same):
                broken.append(name)
        if broken:
            raise QuietbarError(", ".join(broken))

    for name in names:
        _faults(name)  # once, before processes are forked
    material = [(name, _design(name), PROPERTIES[name].method, PROPERTIES[name].depth) for name in names]
    identity = hashlib.sha256(repr(material).encode()).hexdigest()[:16]
    return Bench("formal", f"properties {identity}", run)


@functools.cache
def _faults(name: str) -> list[Fault]:
    """All of a property's design."""
    return find_faults(_design(name))


@functools.cache
def _design(name: str) -> str:
    return PROPERTIES[name].rtlil(sources=True)


def _key(fault: Fault) -> tuple[str, str, str]:
    """What makes faults the same: kind, place and change, but for numbers, and for names made of numbers."""
    return fault.kind, fault.source, re.sub(r"\d+", "#", re.sub(r"\$signal(\$\d+)?|\$\d+\b", "$", fault.what))


def _alike(faults: list[Fault], fault: Fault) -> list[Fault]:
    return [each for each in faults if _key(each) == _key(fault)]


def _same(name: str, fault: Fault, place: int, count: int) -> Fault | None:
    """The fault in the property's design, in the first module that has as many of its like; None without one."""
    alike = _alike(_faults(name), fault)
    for module in dict.fromkeys(each.module for each in alike):
        inside = [each for each in alike if each.module == module]
        if len(inside) == count:
            return inside[place]
    return None


def _breaks(name: str, fault: Fault) -> bool:
    """Whether a run is found that breaks the property's assertions once the fault is there."""
    each, text = PROPERTIES[name], plant(_design(name), [fault]).with_fault(1)
    try:
        return not prove_rtlil(
            text, each.method, each.depth, free=each.free, seconds=SECONDS, patience=2 * SECONDS
        ).holds
    except ProofError:
        return False
