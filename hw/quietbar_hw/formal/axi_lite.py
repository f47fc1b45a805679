"""Rules of AXI4-Lite beyond those of its five streams, as assertions beside a slave."""

from __future__ import annotations

from typing import Any

from amaranth.hdl import Assert, Assume, Module, Mux, Signal

from .rules import Patience


def answers_in_time(m: Module, slave: Any, name: str, within: int, patience: int = 2) -> None:
    """Add to ``m``: the slave answers each transfer once, and never hangs.

    Asserted: there is no response without a request that it answers; a request that is offered is taken, and one that
    is complete (address, and data of a write) is answered, within ``within`` cycles. ``patience`` is how long the
    master may leave a response. So nothing waits for ever, whatever the order in which the master does things.

    Args:
        m: gets the assertions; the slave's stream rules are a matter of `StreamRules`.
        slave: with members ``name_awvalid`` and so on.
        name: of the port.
        within, patience: in cycles.
    """

    def signal(suffix: str) -> Any:
        return getattr(slave, f"{name}_{suffix}")

    owed = {}
    for channel in ("aw", "w", "ar", "b", "r"):
        taken = signal(f"{channel}valid") & signal(f"{channel}ready")
        owed[channel] = taken
        if channel in ("b", "r"):
            m.submodules[f"patience_{channel}"] = waits = Patience(patience)
            m.d.comb += [waits.valid.eq(signal(f"{channel}valid")), waits.ready.eq(signal(f"{channel}ready"))]
            resp = signal(f"{channel}resp")
            m.d.comb += Assert(~signal(f"{channel}valid") | (resp == 0) | (resp == 2))

    # Requests taken and not yet answered.
    addresses, words, reads = (Signal(4, name=f"{kind}_owed") for kind in ("addresses", "words", "reads"))
    m.d.sync += [
        addresses.eq(addresses + owed["aw"] - owed["b"]),
        words.eq(words + owed["w"] - owed["b"]),
        reads.eq(reads + owed["ar"] - owed["r"]),
    ]
    m.d.comb += [Assert(addresses < 4), Assert(words < 4), Assert(reads < 4)]
    m.d.comb += Assert(~signal("bvalid") | ((addresses != 0) & (words != 0)))
    m.d.comb += Assert(~signal("rvalid") | (reads != 0))

    waiting = {
        "write": (addresses != 0) & (words != 0) & ~signal("bvalid"),
        "read": (reads != 0) & ~signal("rvalid"),
        # An address without its data, and data without its address, may wait for the other one.
        "aw": signal("awvalid") & ~signal("awready") & (words != 0),
        "w": signal("wvalid") & ~signal("wready") & (addresses != 0),
        "ar": signal("arvalid") & ~signal("arready"),
    }
    for kind, waits_now in waiting.items():
        age = Signal(range(within + 2), name=f"{kind}_waits")
        m.d.sync += age.eq(Mux(waits_now, age + 1, 0))
        m.d.comb += Assert(age <= within)


def done_in_time(m: Module, select: Any, done: Any, name: str, within: int) -> None:
    """Assume that what is selected is done at the latest ``within`` cycles later."""
    age = Signal(range(within + 1), name=f"{name}_age")
    m.d.comb += Assume(done | ~select | (age < within))
    m.d.sync += age.eq(Mux(select & ~done, age + 1, 0))
