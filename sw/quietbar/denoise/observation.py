"""Seeing what submodules return while a model runs."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Hashable, Iterator, Mapping
from typing import Any, TypeVar

from torch import Tensor, nn

Key = TypeVar("Key", bound=Hashable)


@contextlib.contextmanager
def observed(
    modules: Mapping[Key, nn.Module], instead: Mapping[Key, Tensor] | None = None
) -> Iterator[dict[Key, list[Any]]]:
    """Record what each of the modules returns within the block.

    The model goes on with a copy of each tensor, so that what was recorded survives later operations in place, and
    gradients with respect to it can be had.

    Args:
        modules: by any key.
        instead: tensors with which the model goes on instead, by the same keys.

    Returns (as the context's value): key -> outputs, one a call; the keys in the order in which the modules first
    returned.
    """
    outputs: dict[Key, list[Any]] = {}

    def hook(key: Key) -> Callable[[nn.Module, Any, Any], Any]:
        def record(module: nn.Module, inputs: Any, output: Any) -> Any:
            outputs.setdefault(key, []).append(output)
            given = output if instead is None else instead.get(key, output)
            return given.clone() if isinstance(given, Tensor) else given

        return record

    handles = [module.register_forward_hook(hook(key)) for key, module in modules.items()]
    try:
        yield outputs
    finally:
        for handle in handles:
            handle.remove()
