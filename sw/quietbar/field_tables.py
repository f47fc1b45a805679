"""Tables of all fields of a configuration, such as a recipe, from its dataclasses and their docstrings."""

from __future__ import annotations

import dataclasses
import inspect
import re
import types
import typing
from collections.abc import Iterator
from typing import Any

LONGEST = 12
"""Characters of a number that is shown in full; four digits of others."""
KINDS = {bool: "true or false", int: "integer", float: "number", str: "text"}


def tables(kind: type, title: str = "At the top", level: int = 2) -> str:
    """Markdown: for each dataclass a section with its fields, in the order in which they are described.

    Args:
        kind: a dataclass whose docstring, and those of the dataclasses in it, name every field under ``Attributes:``.
        title: of the first section; the others have the names of their tables in TOML.
        level: of the headings.

    Raises:
        ValueError: a docstring names a field that is not there, or not one that is.
    """
    sections = _sections(kind, "")
    return "\n\n".join(
        f"{'#' * level} {f'`[{path}]`' if path else title}\n\n{_section(inner)}" for path, inner in sections
    )


def _sections(kind: type, path: str) -> Iterator[tuple[str, type]]:
    """The dataclass at ``path``, then those of its fields."""
    yield path, kind
    for name, hint in typing.get_type_hints(kind).items():
        inner, several = _table_of(hint)
        if inner is not None:
            where = f"{path}.{name}".lstrip(".")
            yield from _sections(inner, f"[{where}]" if several else where)


def _section(kind: type) -> str:
    summary, _, rest = inspect.cleandoc(kind.__doc__ or "").partition("\n\nAttributes:\n")
    attributes = rest.partition("\n\n")[0]
    lines = [_plain(summary), "", "| key | value | default | what it is |", "|---|---|---|---|"]
    fields = {field.name: field for field in dataclasses.fields(kind)}
    hints = typing.get_type_hints(kind)
    for names, meaning in _meanings(attributes):
        for name in names:
            if name not in fields:
                raise ValueError(f"{kind.__name__} has no field {name}: it is described, or described twice")
        found = [fields.pop(name) for name in names]
        values = list(dict.fromkeys(_value(hints[name]) for name in names))
        defaults = [_default(field) for field in found]
        shown = defaults[:1] if len(set(defaults)) == 1 else defaults
        keys = ", ".join(f"`{name}`" for name in names)
        lines.append(f"| {keys} | {'; '.join(values)} | {', '.join(shown)} | {_plain(meaning).removesuffix('.')} |")
    if fields:
        raise ValueError(f"{kind.__name__} does not say what these are: {', '.join(fields)}")
    return "\n".join(lines)


def _meanings(attributes: str) -> Iterator[tuple[list[str], str]]:
    """The names and the words of each entry; further lines of an entry are indented."""
    for entry in re.split(r"\n(?=    \S)", attributes):
        if entry.strip():
            names, _, meaning = " ".join(entry.split()).partition(": ")
            yield names.split(", "), meaning


def _plain(text: str) -> str:
    """Markdown of a docstring's reStructuredText, on one line."""
    text = re.sub(r"::\n\n +(\S.*)\n", r": ``\1``.", text)
    return re.sub(r":\w+:`([^`]*)`|``([^`]*)``", r"`\1\2`", " ".join(text.split())).replace("|", "\\|")


def _table_of(hint: Any) -> tuple[type | None, bool]:
    """The dataclass that a field holds, if it does, and whether it holds several."""
    if dataclasses.is_dataclass(hint):
        return typing.cast(type, hint), False
    for argument in typing.get_args(hint):
        if dataclasses.is_dataclass(argument):
            return typing.cast(type, argument), typing.get_origin(hint) is tuple
    return None, False


def _value(hint: Any) -> str:
    arguments = [argument for argument in typing.get_args(hint) if argument not in (type(None), Ellipsis)]
    origin = typing.get_origin(hint)
    inner, several = _table_of(hint)
    if inner is not None:
        return "tables" if several else "table"
    if origin is typing.Literal:
        return ", ".join(f'`"{choice}"`' for choice in arguments)
    if origin in (typing.Union, types.UnionType):
        return _value(arguments[0])
    if origin is tuple:
        return f"list, each {_value(arguments[0])}"
    return "table" if origin is dict else KINDS[hint]


def _default(field: dataclasses.Field[Any]) -> str:
    """As TOML; words where the key has to be given, or may be left out for good."""
    default = field.default
    if field.default_factory is not dataclasses.MISSING or dataclasses.is_dataclass(default):
        return "its own"
    if default is dataclasses.MISSING:
        return "must be given"
    return "left out" if default is None else f"`{_toml(default)}`"


def _toml(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return f'"{value}"'
    if isinstance(value, float) and len(str(value)) > LONGEST:
        return f"{value:.4g}"
    return f"[{', '.join(map(_toml, value))}]" if isinstance(value, tuple) else str(value)
