"""Faults planted in the hardware, one at a time, to see that the checkers catch them: in its source text, or by number.

A design that :mod:`quietbar_hw.mutation` made has an input ``fault``, which both tiers of simulation drive with the
number in the environment variable `FAULT`; without the variable with 0, the sound design.
"""

from __future__ import annotations
import __future__

import contextlib
import inspect
import os
import textwrap
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any

from quietbar.contract.errors import require

FAULT = "QUIETBAR_FAULT"


def chosen_fault() -> int:
    """The number of the fault that designs have."""
    return int(os.environ.get(FAULT, "0"))


@contextlib.contextmanager
def planted(owner: type | ModuleType, method: str, old: str, new: str) -> Iterator[None]:
    """Within the context, ``owner.method`` is compiled from its source with ``old`` replaced by ``new``.

    Raises:
        ConfigurationError: ``old`` does not occur exactly once, as when the source has changed since the fault was
            thought out.
    """
    function: Callable[..., Any] = inspect.getattr_static(owner, method)
    source = textwrap.dedent(inspect.getsource(function))
    require(
        source.count(old) == 1, f"{owner.__name__}.{method}", old, f"once in its source, not {source.count(old)} times"
    )
    code = compile(source.replace(old, new), f"<{method} with a fault>", "exec", __future__.annotations.compiler_flag)
    space: dict[str, Any] = dict(function.__globals__)
    exec(code, space)
    setattr(owner, method, space[method])
    try:
        yield
    finally:
        setattr(owner, method, function)
