"""A property: what is claimed of which component, and how it is proven."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from ..abstraction import left_open
from ..prove import Method, Verdict, prove, to_rtlil
from ..surroundings import Drops


@dataclass(frozen=True)
class Property:
    """A claim about a component, with the way to prove it.

    Attributes:
        name: ``subject/part``, unique.
        says: the claim, in a sentence without a full stop.
        make: builds the component with the assertions beside it.
        method, depth, free: see :func:`quietbar_hw.formal.prove`.
        open: parts inside that are left open, see :func:`quietbar_hw.formal.abstraction.left_open`.
        fast: whether it is proven by ``make test`` as well.
    """

    name: str
    says: str
    make: Callable[[], Any]
    method: Method = "induction"
    depth: int = 200
    free: tuple[str, ...] = ()
    open: Mapping[type, Drops] = field(default_factory=dict)
    fast: bool = True

    def rtlil(self, *, sources: bool = False) -> str:
        """The component with its assertions, for Yosys; see :func:`quietbar_hw.formal.prove.to_rtlil`."""
        with left_open(self.open):
            return to_rtlil(self.make(), sources=sources)

    def prove(self) -> Verdict:
        """Prove it; see :func:`quietbar_hw.formal.prove`."""
        with left_open(self.open):
            return prove(self.make(), self.method, self.depth, free=self.free)
