"""Proofs about the hardware: rules of streams and ports as assertions, proven by the SAT solver inside Yosys.

`StreamRules` and `prove` know nothing of quietbar: any Amaranth project can use them on its own components.
"""

from .prove import ProofError, Verdict, prove
from .rules import OrderedContents, Patience, StreamRules

__all__ = ["OrderedContents", "Patience", "ProofError", "StreamRules", "Verdict", "prove"]
