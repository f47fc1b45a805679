"""Registers from one SystemRDL source: the RTL bank, the drivers, the documents, and the tests of them."""

from .axi_lite import AxiLiteSlave, axi_lite_members, connect_axi_lite
from .bank import RegisterBank
from .model import Field, Register, RegisterMap, Window

__all__ = [
    "AxiLiteSlave",
    "Field",
    "Register",
    "RegisterBank",
    "RegisterMap",
    "Window",
    "axi_lite_members",
    "connect_axi_lite",
]
