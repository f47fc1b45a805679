"""A property: what is claimed of which component, and how it is proven."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

from ..abstraction import open_queues
from ..prove import Method, Verdict, prove, to_rtlil


@dataclass(frozen=True)
class Property:
    """A claim about a component, with the way to prove it.

    Attributes:
        name: ``subject/part``, unique.
        says: the claim, in a sentence without a full stop.
        make: builds the component with the assertions beside it.
        method, depth, free: see :func:`quietbar_hw.formal.prove`.
        open_queues: whether queues inside are left open, see :func:`quietbar_hw.formal.abstraction.open_queues`.
        fast: whether it is proven by ``make test`` as well.
    """

    name: str
    says: str
    make: Callable[[], Any]
    method: Method = "induction"
    depth: int = 200
    free: tuple[str, ...] = ()
    open_queues: bool = False
    fast: bool = True

    def rtlil(self) -> str:
        """The component with its assertions, for Yosys."""
        with open_queues() if self.open_queues else nullcontext():
            return to_rtlil(self.make())

    def prove(self) -> Verdict:
        """Prove it; see :func:`quietbar_hw.formal.prove`."""
        with open_queues() if self.open_queues else nullcontext():
            return prove(self.make(), self.method, self.depth, free=self.free)
