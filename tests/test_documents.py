"""What the documents name is there: links and their headings, commands and options, targets, modules, files."""

from __future__ import annotations

import argparse
import functools
import importlib
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from quietbar.cli import COMMANDS

ROOT = Path(__file__).parents[1]
DOCUMENTS = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").rglob("*.md"))]
FOLDERS = (ROOT, ROOT / "sw", ROOT / "hw", ROOT / "cosim")

LINK = re.compile(r"\]\(([^)\s]+)\)")
HEADING = re.compile(r"^#+ +(.*)$", re.MULTILINE)
COMMAND = re.compile(r"(?:^ +|`|&& |do )quietbar ([a-z-]+)([^`\n]*)", re.MULTILINE)
TARGET = re.compile(r"(?:^ +|`|or: )make ([a-z-]+)", re.MULTILINE)
NAME = re.compile(r"`(quietbar(?:_hw|_cosim)?(?:\.\w+)+)")
IMPORT = re.compile(r"^from (quietbar[\w.]*) import ([\w, ]+)", re.MULTILINE)
SHORT = re.compile(r"\bqb\.(\w+(?:\.\w+)*)")
FILE = re.compile(r"(?<![\w./-])((?:tests|tools|recipes|hw|sw|cosim|quietbar|quietbar_hw|quietbar_cosim)/[\w./-]*\w)")


def missing(document: Path, text: str) -> Iterator[str]:
    """What ``text`` names and the repository does not have, in words."""
    for target in LINK.findall(without_programs(text)):
        file, _, heading = target.partition("#")
        linked = document.parent / file if file else document
        if not target.startswith("http") and not (linked.exists() and (not heading or heading in headings(linked))):
            yield f"link {target}"
    for command, rest in COMMAND.findall(text.replace("\\\n", " ")):
        if command not in COMMANDS:
            yield f"command {command}"
        else:
            words = rest.partition("  #")[0].split()
            yield from (
                f"option {command} {word}" for word in words if word.startswith("--") and word not in options(command)
            )
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    yield from (f"target {name}" for name in TARGET.findall(text) if f"\n{name}:" not in makefile)
    names = [*NAME.findall(text), *(f"quietbar.{name}" for name in SHORT.findall(text))]
    names += [f"{module}.{name.strip()}" for module, found in IMPORT.findall(text) for name in found.split(",")]
    yield from (f"name {name}" for name in names if not importable(name))
    yield from (f"file {name}" for name in FILE.findall(text) if not any((at / name).exists() for at in FOLDERS))


def without_programs(text: str) -> str:
    return re.sub(r"```.*?```", "", text, flags=re.DOTALL)


@functools.cache
def headings(document: Path) -> frozenset[str]:
    """As GitHub names them in links."""
    found = HEADING.findall(without_programs(document.read_text(encoding="utf-8")))
    return frozenset(re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-") for heading in found)


@functools.cache
def options(command: str) -> frozenset[str]:
    parser = argparse.ArgumentParser()
    COMMANDS[command].load().add_arguments(parser)
    return frozenset(option for action in parser._actions for option in action.option_strings)


@functools.cache
def importable(name: str) -> bool:
    """Whether a dotted name is that of a module, or of something in one."""
    parts = name.split(".")
    for count in range(len(parts), 0, -1):
        try:
            found = importlib.import_module(".".join(parts[:count]))
        except ModuleNotFoundError:
            continue
        try:
            functools.reduce(getattr, parts[count:], found)
        except AttributeError:
            return False
        return True
    return False


def test_the_readme_names_every_command() -> None:
    readme = DOCUMENTS[0].read_text(encoding="utf-8")
    assert [name for name in COMMANDS if not re.search(rf"\b(?:quietbar|make) (?:[a-z-]+\|)*{name}\b", readme)] == []


def test_every_document_can_be_reached_from_the_readme() -> None:
    """By links from document to document."""
    reached, todo = set[Path](), [DOCUMENTS[0]]
    while todo:
        document = todo.pop()
        reached.add(document)
        links = (link.partition("#")[0] for link in LINK.findall(document.read_text(encoding="utf-8")))
        linked = {(document.parent / link).resolve() for link in links if link.endswith(".md")}
        todo += linked - reached
    assert set(DOCUMENTS) - reached <= {ROOT / "CHANGELOG.md"}


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_what_a_document_names_is_there(document: Path) -> None:
    assert list(missing(document, document.read_text(encoding="utf-8"))) == []


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("[a](nowhere.md)", "link nowhere.md"),
        ("[a](noise.md#no-such-heading)", "link noise.md#no-such-heading"),
        ("    quietbar polish --hard", "command polish"),
        ("`quietbar verilog --colour red`", "option verilog --colour"),
        ("    make tea", "target tea"),
        ("`quietbar.noise.Chips`", "name quietbar.noise.Chips"),
        ("`quietbar.nose`", "name quietbar.nose"),
        ("from quietbar.contract import BlockConfig, Block", "name quietbar.contract.Block"),
        ("noisy = qb.analog.revert(model)", "name quietbar.analog.revert"),
        ("see tests/sw/test_nothing.py.", "file tests/sw/test_nothing.py"),
    ],
)
def test_what_is_not_there_is_seen(text: str, told: str) -> None:
    assert list(missing(ROOT / "docs" / "noise.md", text)) == [told]


def test_the_ways_in_which_documents_name_things_are_found() -> None:
    everything = "\n".join(path.read_text(encoding="utf-8") for path in DOCUMENTS)
    for pattern, least in ((LINK, 50), (COMMAND, 50), (TARGET, 15), (NAME, 50), (IMPORT, 15), (SHORT, 15), (FILE, 50)):
        assert len(pattern.findall(everything)) >= least, pattern
