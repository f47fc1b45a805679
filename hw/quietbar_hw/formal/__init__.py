"""Proofs about the hardware: rules of streams and ports as assertions, proven by ABC inside Yosys.

All but the subpackage ``properties`` knows nothing of quietbar: any Amaranth project can use it on its own components,
see docs/verification.md.
"""

from .axi_lite import answers_in_time
from .prove import METHODS, Method, Verdict, prove
from .rules import OrderedContents, Patience, StreamRules
from .surroundings import Surrounded, stream_ports
from .yosys import ProofError

__all__ = [
    "METHODS",
    "Method",
    "OrderedContents",
    "Patience",
    "ProofError",
    "StreamRules",
    "Surrounded",
    "Verdict",
    "answers_in_time",
    "prove",
    "stream_ports",
]
