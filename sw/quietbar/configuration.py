"""Frozen dataclasses from plain mappings (TOML, JSON): unknown, missing and ill-typed fields are refused by name."""

from __future__ import annotations

import dataclasses
import difflib
import types
import typing
from collections.abc import Mapping
from typing import Any, TypeVar

from .contract.errors import ConfigurationError, require

Configuration = TypeVar("Configuration")


def from_mapping(kind: type[Configuration], values: Mapping[str, Any], where: str = "") -> Configuration:
    """Build the dataclass ``kind`` from ``values``; nested mappings become nested dataclasses.

    Args:
        kind: a dataclass whose ``__post_init__`` checks its fields.
        values: field name to value, as TOML or JSON give them. Lists become tuples where the field is a tuple.
        where: dotted name of this mapping, for messages.

    Raises:
        ConfigurationError: naming the field, its value, and what is allowed.
    """
    require(isinstance(values, Mapping), where or kind.__name__, values, "a table of fields")
    hints = typing.get_type_hints(kind)
    fields = {field.name: field for field in dataclasses.fields(typing.cast(Any, kind)) if field.init}
    for name, value in values.items():
        if name not in fields:
            near = difflib.get_close_matches(name, fields, n=1)
            hint = f" (did you mean {near[0]!r}?)" if near else ""
            raise ConfigurationError(_join(where, name), value, f"absent{hint}: known keys are {', '.join(fields)}")
    arguments = {}
    for name, field in fields.items():
        if name in values:
            arguments[name] = _convert(hints[name], values[name], _join(where, name))
        else:
            has_default = field.default is not dataclasses.MISSING or field.default_factory is not dataclasses.MISSING
            require(has_default, _join(where, name), None, "given: it has no default")
    try:
        return kind(**arguments)
    except ConfigurationError as error:
        # A class that is used elsewhere too calls itself by its own name: here it is a part of something.
        own, dot, rest = error.field.partition(".")
        if own != where.rpartition(".")[2]:
            raise
        raise ConfigurationError(f"{where}{dot}{rest}", error.value, error.allowed) from None


def to_mapping(configuration: Any) -> dict[str, Any]:
    """The inverse of :func:`from_mapping`: plain values, fields that are None left out (TOML has no null)."""
    mapping = {}
    for field in dataclasses.fields(configuration):
        value = getattr(configuration, field.name)
        if value is None or not field.init:
            continue
        if dataclasses.is_dataclass(value):
            value = to_mapping(value)
        elif isinstance(value, tuple):
            value = [to_mapping(each) if dataclasses.is_dataclass(each) else each for each in value]
        mapping[field.name] = value
    return mapping


def _join(where: str, name: str) -> str:
    return f"{where}.{name}" if where else name


def _convert(hint: Any, value: Any, where: str) -> Any:
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        if value is None and type(None) in arguments:
            return None
        choices = [argument for argument in arguments if argument is not type(None)]
        if len(choices) == 1:
            return _convert(choices[0], value, where)
        accepted = [choice for choice in choices if _accepts(choice, value)]
        require(bool(accepted), where, value, " or ".join(_describe(choice) for choice in choices))
        return _convert(accepted[0], value, where)
    if dataclasses.is_dataclass(hint):
        return (
            value if isinstance(value, typing.cast(type, hint)) else from_mapping(typing.cast(type, hint), value, where)
        )
    if origin is tuple:
        require(isinstance(value, (list, tuple)), where, value, "a list")
        return tuple(_convert(arguments[0], element, f"{where}[{index}]") for index, element in enumerate(value))
    if origin is dict:
        require(isinstance(value, Mapping), where, value, "a table of fields")
        return dict(value)
    require(_accepts(hint, value), where, value, _describe(hint))
    return float(value) if hint is float else value


def _accepts(hint: Any, value: Any) -> bool:
    if typing.get_origin(hint) is typing.Literal:
        return value in typing.get_args(hint)
    if hint is Any:
        return True
    if isinstance(value, bool):
        return hint is bool
    if hint is float:
        return isinstance(value, (int, float))
    return isinstance(value, hint) if isinstance(hint, type) else True


def _describe(hint: Any) -> str:
    if typing.get_origin(hint) is typing.Literal:
        return "one of " + ", ".join(repr(choice) for choice in typing.get_args(hint))
    return {bool: "true or false", int: "an integer", float: "a number", str: "a string"}.get(hint, str(hint))
