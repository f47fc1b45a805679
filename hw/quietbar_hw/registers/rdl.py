"""SystemRDL 2.0 read into a register map; the language is the work of ``systemrdl-compiler``.

What :class:`~quietbar_hw.registers.model.RegisterMap` has no place for is refused by name, never left out.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from systemrdl.compiler import RDLCompiler
from systemrdl.messages import MessagePrinter
from systemrdl.messages import RDLCompileError as CompileError
from systemrdl.node import AddrmapNode, FieldNode, MemNode, Node, RegfileNode, RegNode
from systemrdl.rdltypes.builtin_enums import AccessType, OnReadType, OnWriteType, PrecedenceType
from systemrdl.rdltypes.references import PropertyReference

from quietbar.contract import ConfigurationError, QuietbarError, require

from .model import WORD_BITS, Access, Field, Hardware, OnWrite, Register, RegisterMap, Window

ACCESS: dict[AccessType, Access] = {AccessType.r: "r", AccessType.rw: "rw", AccessType.w: "w"}
ON_WRITE: dict[OnWriteType | None, OnWrite] = {
    None: "store",
    OnWriteType.woclr: "one_clears",
    OnWriteType.woset: "one_sets",
    OnWriteType.wclr: "clears",
}
UNSUPPORTED = (
    "rset", "swwe", "swwel", "swmod", "swacc", "wel", "anded", "ored", "xored", "fieldwidth", "decrwidth", "decr",
    "decrvalue", "incrsaturate", "incrthreshold", "decrsaturate", "decrthreshold", "saturate", "threshold", "overflow",
    "underflow", "haltenable", "haltmask", "mask", "hwenable", "hwmask", "next", "resetsignal", "paritycheck",
)  # fmt: skip
"""Properties of fields that no bank has."""


class RegisterSourceError(QuietbarError):
    """The source is no SystemRDL; the message is the compiler's."""


class _Messages(MessagePrinter):
    """Keeps what the compiler has to say."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []

    def emit_message(self, lines: list[str]) -> None:
        self.lines += [re.sub(r"\x1b\[[0-9;]*m", "", line) for line in lines]


def elaborate(source: Path | str, parameters: Mapping[str, int] | None = None, top: str | None = None) -> AddrmapNode:
    """The compiler's own tree of a source, for the tools of the PeakRDL family.

    Args:
        source: file with an ``addrmap``.
        parameters: of that ``addrmap``, by name.
        top: its name; the last one of the file if there are several.

    Raises:
        RegisterSourceError: the source has errors.
        ConfigurationError: there is no such file, or no such parameter.
    """
    source = Path(source)
    require(source.is_file(), "registers.source", str(source), "a file that exists")
    messages = _Messages()
    compiler = RDLCompiler(message_printer=messages)
    try:
        compiler.compile_file(str(source))
        values: dict[str, Any] = dict(parameters or {})
        root = compiler.elaborate(top_def_name=top, parameters=values)
    except CompileError as error:
        raise RegisterSourceError("\n".join(messages.lines) or str(error)) from error
    except (ValueError, TypeError) as error:
        raise ConfigurationError("registers.parameters", dict(parameters or {}), str(error)) from error
    return root.top


def read_map(source: Path | str, parameters: Mapping[str, int] | None = None, top: str | None = None) -> RegisterMap:
    """The register map of a SystemRDL file; see :func:`elaborate` for the arguments.

    Raises:
        RegisterSourceError: the source has errors.
        ConfigurationError: it uses something that a bank has no place for; what and where is named.
    """
    return to_map(elaborate(source, parameters, top))


def to_map(top: AddrmapNode) -> RegisterMap:
    """The register map of an elaborated tree."""
    registers, windows = [], []
    for node in _leaves(top):
        if isinstance(node, MemNode):
            windows.append(_window(node, top))
        else:
            registers.append(_register(node, top))
    return RegisterMap(
        top.inst_name,
        tuple(sorted(registers, key=lambda register: register.address)),
        tuple(sorted(windows, key=lambda window: window.address)),
        title=_text(top, "name"),
        description=_text(top, "desc"),
        parameters={name: int(value) for name, value in top.parameters.items()},
    )


def _get(node: Node, name: str, **default: Any) -> Any:
    """A property; the compiler's types tell too little of what each may be."""
    return node.get_property(name, **default)


def _leaves(node: Node) -> Iterator[RegNode | MemNode]:
    for child in node.children(unroll=True):
        if isinstance(child, RegNode | MemNode):
            yield child
        elif isinstance(child, RegfileNode | AddrmapNode):
            yield from _leaves(child)


def _path(node: Node, top: Node) -> str:
    """The name of a register or window: the parts of its path, joined by underscores."""
    return re.sub(r"\W+", "_", node.get_rel_path(top)).strip("_")


def _text(node: Node, name: str) -> str:
    """Name or description, with line breaks and blanks made one blank; the default name is left out."""
    text = _get(node, name, default=None) or ""
    return "" if name == "name" and text == node.inst_name else " ".join(text.split())


def _register(node: RegNode, top: Node) -> Register:
    path = _path(node, top)
    require(not node.external, f"{path}.external", True, "false: only memories are external")
    accessed = _get(node, "accesswidth")
    require(accessed == WORD_BITS, f"{path}.accesswidth", accessed, f"{WORD_BITS}")
    fields = tuple(_field(each, path, top) for each in node.fields())
    return Register(
        path, node.absolute_address, _get(node, "regwidth"), fields, _text(node, "desc") or _text(node, "name")
    )


def _window(node: MemNode, top: Node) -> Window:
    path, width = _path(node, top), _get(node, "memwidth")
    require(width == WORD_BITS, f"{path}.memwidth", width, f"{WORD_BITS}")
    access = _get(node, "sw")
    require(access in ACCESS, f"{path}.sw", access.name, "r, rw or w")
    entries = _get(node, "mementries")
    return Window(path, node.absolute_address, entries, ACCESS[access], _text(node, "desc") or _text(node, "name"))


def _field(node: FieldNode, register: str, top: Node) -> Field:
    where = f"{register}.{node.inst_name}"
    for name in UNSUPPORTED:
        if name in node.list_properties():
            raise ConfigurationError(f"{where}.{name}", _get(node, name), "left out: a bank has no place for it")
    access, on_write, on_read = (_get(node, name) for name in ("sw", "onwrite", "onread"))
    require(access in ACCESS, f"{where}.sw", access.name, "r, rw or w")
    require(on_write in ON_WRITE, f"{where}.onwrite", getattr(on_write, "name", None), "woclr, woset or wclr")
    require(on_read in (None, OnReadType.rclr), f"{where}.onread", getattr(on_read, "name", None), "rclr")
    hwset, hwclr, enable, load = (_get(node, name) for name in ("hwset", "hwclr", "enable", "we"))
    for name, value in (("hwset", hwset), ("we", load)):
        require(isinstance(value, bool), f"{where}.{name}", str(value), "true or false")
    counter = bool(_get(node, "counter"))
    if counter and _get(node, "incrvalue") not in (None, 1):
        raise ConfigurationError(f"{where}.incrvalue", str(_get(node, "incrvalue")), "1, or give incrwidth")
    interrupt = bool(_get(node, "intr"))
    if interrupt and not _get(node, "stickybit"):
        raise ConfigurationError(f"{where}.intr", "nonsticky", "a sticky bit")
    reset = _get(node, "reset")
    require(reset is None or isinstance(reset, int), f"{where}.reset", str(reset), "a number")
    # A sticky interrupt is set by hardware, whether or not the source says so.
    sets = hwset or (interrupt and node.is_hw_writable)
    hardware = _hardware(node, bool(load), counter, sets)
    return Field(
        name=node.inst_name,
        low=node.low,
        width=node.width,
        reset=None if hardware == "drive" else reset or 0,
        access=ACCESS[access],
        on_write=ON_WRITE[on_write],
        on_read_clears=on_read is not None,
        pulse=bool(_get(node, "singlepulse")),
        hardware=hardware,
        output=node.is_hw_readable and hardware != "drive",
        set_by_hardware=bool(sets),
        cleared_by_hardware=hwclr is True,
        cleared_by=_reference(hwclr, f"{where}.hwclr", top),
        counter=counter,
        increment=int(_get(node, "incrwidth") or 0) if counter else 0,
        hardware_first=_get(node, "precedence") == PrecedenceType.hw,
        interrupt=interrupt,
        enabled_by=_reference(enable, f"{where}.enable", top),
        description=_text(node, "desc"),
    )


def _hardware(node: FieldNode, load: bool, counter: bool, sets: bool) -> Hardware:
    if load:
        return "load"
    if node.is_hw_writable and not counter and not sets:
        if node.is_sw_writable:
            where = f"{node.parent.inst_name}.{node.inst_name}"
            raise ConfigurationError(f"{where}.hw", _get(node, "hw").name, "r, or with we: software writes it too")
        return "drive"
    return "none"


def _reference(target: Any, where: str, top: Node) -> str:
    """``register.field`` of the field that a property points to; empty where it points to none."""
    if target is None or isinstance(target, bool):
        return ""
    require(isinstance(target, FieldNode), where, _name(target), "a field")
    return f"{_path(target.parent, top)}.{target.inst_name}"


def _name(target: Any) -> str:
    return target.name if isinstance(target, PropertyReference) else str(target)
