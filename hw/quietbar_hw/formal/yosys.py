"""Yosys on texts in a temporary folder of their own: how proofs, comparisons and searches are all carried out."""

from __future__ import annotations

import contextlib
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from quietbar import toolchain
from quietbar.contract import QuietbarError


class ProofError(QuietbarError):
    """Yosys could not read the design, or gave no verdict; the message ends with its last lines."""


class UnfinishedError(ProofError):
    """Yosys was given up: its time was over."""


@dataclass(frozen=True)
class Yosys:
    """Yosys in a folder, which holds the texts and whatever Yosys writes.

    Attributes:
        folder: that it runs in; names in scripts are relative to it.
    """

    folder: Path

    @classmethod
    @contextlib.contextmanager
    def on(cls, texts: Mapping[str, str]) -> Iterator[Yosys]:
        """In a temporary folder with these files."""
        with tempfile.TemporaryDirectory(prefix="quietbar-yosys-") as name:
            folder = Path(name)
            for file, text in texts.items():
                (folder / file).write_text(text)
            yield cls(folder)

    def run(self, script: Sequence[str], patience: float | None = None) -> tuple[bool, str]:
        """Run the commands; whether all were carried out, and the errors and warnings that were told.

        Args:
            script: commands.
            patience: seconds by the clock; for ever by default.

        Raises:
            MissingToolError: there is no Yosys that will do.
            UnfinishedError: the seconds are over.
        """
        command = [str(toolchain.yosys().require()), "-Q", "-q", "-p", "; ".join(script)]
        try:
            done = subprocess.run(
                command, cwd=self.folder, env=toolchain.environment(), capture_output=True, text=True, timeout=patience
            )
        except subprocess.TimeoutExpired:
            raise UnfinishedError(f"no verdict within {patience} seconds") from None
        return done.returncode == 0, done.stdout + done.stderr

    def written(self, file: str) -> str:
        """What Yosys wrote to a file; empty if it did not."""
        path = self.folder / file
        return path.read_text() if path.exists() else ""


def last_lines(text: str) -> str:
    """Of what was said, for a message."""
    return "\n".join(text.splitlines()[-5:])
