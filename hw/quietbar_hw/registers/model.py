"""A register map as data: what software sees at each address, and what stands behind it in hardware."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from quietbar.contract import require, require_choice, require_integer

WORD_BITS = 32
WORD_BYTES = WORD_BITS // 8

Access = Literal["r", "rw", "w"]
OnWrite = Literal["store", "one_clears", "one_sets", "clears"]
Hardware = Literal["none", "drive", "load"]


@dataclass(frozen=True)
class Field:
    """Bits of a register.

    Attributes:
        name: of the field.
        low, width: its lowest bit and how many there are.
        reset: value after a reset; None where hardware drives the field and nothing is stored.
        access: of software: ``r``, ``rw`` or ``w`` (reads as 0).
        on_write: ``store``: written bits are kept; ``one_clears``, ``one_sets``: ones do that to their bits, zeros do
            nothing; ``clears``: any write to the field makes it 0.
        on_read_clears: whether reading makes it 0.
        pulse: whether the field goes back to 0 one cycle after it was written.
        hardware: what it does to the value as a whole: ``none``; ``drive``: the value comes from outside and nothing is
            stored; ``load``: it is loaded now and then.
        output: whether the value leaves the bank.
        set_by_hardware: whether there is an input that sets bits.
        cleared_by_hardware: whether there is an input that makes the field 0.
        cleared_by: path ``register.field`` of a one-bit field that makes this one 0 as long as it is 1.
        counter: whether it counts up, and wraps.
        increment: width of the counter's step input, 0 where the step is always 1.
        hardware_first: which of a write and an event of the same cycle has the last word. Hardware's are then applied
            after the write's, so that no event is lost.
        interrupt: whether the field takes part in its register's interrupt.
        enabled_by: path ``register.field`` of what enables this interrupt; empty: always.
        description: for documents.
    """

    name: str
    low: int
    width: int
    reset: int | None = 0
    access: Access = "rw"
    on_write: OnWrite = "store"
    on_read_clears: bool = False
    pulse: bool = False
    hardware: Hardware = "none"
    output: bool = False
    set_by_hardware: bool = False
    cleared_by_hardware: bool = False
    cleared_by: str = ""
    counter: bool = False
    increment: int = 0
    hardware_first: bool = False
    interrupt: bool = False
    enabled_by: str = ""
    description: str = ""

    def __post_init__(self) -> None:
        require_choice(f"field.{self.name}.access", self.access, ("r", "rw", "w"))
        require_choice(f"field.{self.name}.on_write", self.on_write, ("store", "one_clears", "one_sets", "clears"))
        require_choice(f"field.{self.name}.hardware", self.hardware, ("none", "drive", "load"))
        if self.hardware == "drive":
            require(self.access == "r", f"field.{self.name}.access", self.access, "'r' where hardware drives the field")
        else:
            require_integer(f"field.{self.name}.reset", self.reset, 0, (1 << self.width) - 1)

    @property
    def high(self) -> int:
        """Its highest bit."""
        return self.low + self.width - 1

    @property
    def mask(self) -> int:
        """Ones at its place in the register."""
        return ((1 << self.width) - 1) << self.low

    @property
    def readable_by_software(self) -> bool:
        """Whether reads give its value."""
        return "r" in self.access

    @property
    def writable_by_software(self) -> bool:
        """Whether writes do anything to it."""
        return "w" in self.access

    @property
    def stored(self) -> bool:
        """Whether there are flip-flops behind it; otherwise it is constant, or driven from outside."""
        changes = self.writable_by_software or self.counter or self.set_by_hardware or self.hardware == "load"
        return self.hardware != "drive" and changes


@dataclass(frozen=True)
class Register:
    """A register of one or two words.

    A register of two words is read low word first: that read keeps the high word for the read of it, so that both are
    of one moment.

    Attributes:
        name: with underscores where it is in a register file, and with its number where it is one of an array.
        address: in bytes, from the start of the map.
        width: 32 or 64.
        fields: from the lowest bit up.
        description: for documents.
    """

    name: str
    address: int
    width: int
    fields: tuple[Field, ...]
    description: str = ""

    def __post_init__(self) -> None:
        require_choice(f"register.{self.name}.width", self.width, (WORD_BITS, 2 * WORD_BITS))
        require(
            self.address % (self.width // 8) == 0,
            f"register.{self.name}.address",
            self.address,
            f"a multiple of {self.width // 8}",
        )

    @property
    def words(self) -> int:
        """1 or 2."""
        return self.width // WORD_BITS

    @property
    def readable(self) -> bool:
        """Whether software may read it."""
        return any(each.readable_by_software for each in self.fields)

    @property
    def writable(self) -> bool:
        """Whether software may write it."""
        return any(each.writable_by_software for each in self.fields)

    @property
    def interrupt(self) -> bool:
        """Whether it has an interrupt."""
        return any(each.interrupt for each in self.fields)

    def field(self, name: str) -> Field:
        """The field called ``name``."""
        found = {each.name: each for each in self.fields}
        require_choice(f"register.{self.name}.field", name, tuple(found))
        return found[name]


@dataclass(frozen=True)
class Window:
    """A memory outside the bank, 32 bits wide.

    Attributes:
        name: of the window.
        address: in bytes, from the start of the map.
        entries: words that there are.
        access: of software.
        description: for documents.
    """

    name: str
    address: int
    entries: int
    access: Access = "rw"
    description: str = ""

    def __post_init__(self) -> None:
        require_choice(f"window.{self.name}.access", self.access, ("r", "rw", "w"))
        require(self.address % WORD_BYTES == 0, f"window.{self.name}.address", self.address, "a multiple of 4")
        require_integer(f"window.{self.name}.entries", self.entries, 1, 1 << 28)

    @property
    def bytes(self) -> int:
        """Its size."""
        return self.entries * WORD_BYTES


@dataclass(frozen=True)
class RegisterMap:
    """All registers and windows behind one AXI4-Lite port.

    Attributes:
        name: of the map.
        registers, windows: by rising address.
        title, description: for documents.
        parameters: what the source was elaborated with.
    """

    name: str
    registers: tuple[Register, ...]
    windows: tuple[Window, ...] = ()
    title: str = ""
    description: str = ""
    parameters: dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        taken: dict[int, str] = {}
        for register in self.registers:
            for word in range(register.words):
                place = register.address + word * WORD_BYTES
                require(place not in taken, f"register.{register.name}.address", place, "an address of its own")
                taken[place] = register.name
        for window in self.windows:
            clash = [name for place, name in taken.items() if 0 <= place - window.address < window.bytes]
            require(not clash, f"window.{window.name}.address", window.address, f"away from {', '.join(clash)}")
        for first, second in zip(self.windows, self.windows[1:], strict=False):
            end = first.address + first.bytes
            require(end <= second.address, f"window.{second.name}.address", second.address, f"at least {end}")
        for _, each in self.fields():
            for path in filter(None, (each.enabled_by, each.cleared_by)):
                self.field(path)

    @property
    def bytes(self) -> int:
        """Size of the map: just beyond the last of it."""
        ends = [register.address + register.width // 8 for register in self.registers]
        return max(ends + [window.address + window.bytes for window in self.windows], default=WORD_BYTES)

    @property
    def address_bits(self) -> int:
        """Width of a byte address that reaches all of it."""
        return max((self.bytes - 1).bit_length(), 3)

    def register(self, name: str) -> Register:
        """The register called ``name``."""
        found = {each.name: each for each in self.registers}
        require_choice(f"{self.name}.register", name, tuple(found))
        return found[name]

    def window(self, name: str) -> Window:
        """The window called ``name``."""
        found = {each.name: each for each in self.windows}
        require_choice(f"{self.name}.window", name, tuple(found))
        return found[name]

    def field(self, path: str) -> Field:
        """The field at ``register.field``."""
        register, _, name = path.partition(".")
        return self.register(register).field(name)

    def fields(self) -> Iterator[tuple[Register, Field]]:
        """Every field with its register."""
        for register in self.registers:
            for each in register.fields:
                yield register, each

    def to_dict(self) -> dict[str, Any]:
        """The map as plain values."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> RegisterMap:
        """The inverse of :meth:`to_dict`."""
        registers = tuple(
            Register(**{**register, "fields": tuple(Field(**each) for each in register["fields"])})
            for register in values["registers"]
        )
        windows = tuple(Window(**window) for window in values["windows"])
        return cls(**{**values, "registers": registers, "windows": windows})
