"""What the documents say that a command or an example prints is what it prints."""

import re
from pathlib import Path

import pytest

from quietbar.cli import main

DOCUMENTS = Path(__file__).parents[2] / "docs"

COMMANDS = {
    "engine.md": ["engine-cycles"],
    "estimates.md": ["estimate-blocks", str(DOCUMENTS / "results/cifar10-resnet20.json")],
}


def blocks(document: str, language: str = "") -> list[str]:
    """Fenced blocks of a language."""
    text = (DOCUMENTS / document).read_text()
    fences = re.findall(r"^```(\w*)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    return [block for named, block in fences if named == language]


@pytest.mark.parametrize("document", COMMANDS)
def test_a_block_without_a_language_is_what_the_command_prints(document, capsys) -> None:
    (shown,) = blocks(document)
    assert main(COMMANDS[document]) == 0
    printed = [line.rstrip() for line in capsys.readouterr().out.splitlines()]
    assert [line for line in shown.splitlines() if line not in printed] == []


def test_cycles_of_the_documented_denoiser_are_the_model_s(capsys) -> None:
    (example,) = (block for block in blocks("hardware.md", "python") if "cycles(config" in block)
    exec(example, {})
    assert capsys.readouterr().out.strip() == example.rpartition("# ")[2].strip()
