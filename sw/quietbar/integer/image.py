"""The engine image: what an engine's memory holds so that it runs all blocks of a bundle, and ways to store it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np

from quietbar.contract.block import BlockConfig
from quietbar.contract.descriptor import Descriptor, place
from quietbar.contract.engine import EngineConfig
from quietbar.contract.engine_size import fitting
from quietbar.contract.errors import ConfigurationError, QuietbarError, require, require_choice
from quietbar.contract.memory import segments
from quietbar.files import write_atomically

from .bundle import Bundle
from .engine import Write, block_writes

FORMAT = 1
MANIFEST, WORDS, HEX, HEADER = "engine-image.json", "engine-image.bin", "engine-image.hex", "engine_image.h"


@dataclass(frozen=True)
class EngineImage:
    """Parameters and descriptors of a bundle's blocks as an engine holds them.

    Attributes:
        engine: whose memory this is.
        taps: descriptor of each tap; the place in this order is its ``tid``.
        writes: (word address, word) in the order in which they are to be written; a block's descriptor is last.
    """

    engine: EngineConfig
    taps: Mapping[str, Descriptor]
    writes: tuple[Write, ...]

    def block(self, tap: str) -> int:
        """The ``tid`` of a tap."""
        require_choice("engine_image.tap", tap, tuple(self.taps))
        return list(self.taps).index(tap)

    def segments(self) -> Iterator[tuple[int, list[int]]]:
        """The writes as runs of words at consecutive addresses: (first word address, words)."""
        return segments(self.writes)

    def packed(self) -> np.ndarray[Any, np.dtype[np.uint32]]:
        """The segments as one array, uint32: word address, number of words, words; and so on."""
        parts = [word for address, words in self.segments() for word in (address, len(words), *words)]
        return np.array(parts, dtype="<u4")

    def c_text(self) -> str:
        """A C header: the packed segments as an array, a constant for the ``tid`` of each tap, and a loader."""
        words = self.packed().tolist()
        rows = [", ".join(f"0x{word:08x}" for word in words[at : at + 10]) for at in range(0, len(words), 10)]
        names = [_identifier(tap) for tap in self.taps]
        require(len(set(names)) == len(names), "engine_image.taps", list(self.taps), "names that differ as C constants")
        blocks = [f"#define QUIETBAR_BLOCK_{name} {number}u" for number, name in enumerate(names)]
        text = ",\n    ".join(rows)
        return _C_HEADER.format(blocks="\n".join(blocks), count=len(words), words=text)

    def hex_text(self) -> str:
        """The packed segments as Verilog's ``$readmemh`` reads them, one word a line."""
        return "".join(f"{word:08x}\n" for word in self.packed().tolist())

    def save(self, folder: Path | str) -> Path:
        """Write manifest, binary, hex and C header to ``folder``, the manifest last; its path.

        The same image makes the same bytes.
        """
        folder = Path(folder)
        content = self.packed().tobytes()
        manifest = {
            "format": FORMAT,
            "engine": self.engine.to_dict(),
            "taps": [
                {
                    "name": name,
                    "block": place.block.to_dict(),
                    **{each: getattr(place, each) for each in ("matrix", "window", "hidden", "channel")},
                }
                for name, place in self.taps.items()
            ],
            "words": WORDS,
            "sha256": hashlib.sha256(content).hexdigest(),
        }
        write_atomically(folder / WORDS, content)
        write_atomically(folder / HEX, self.hex_text())
        write_atomically(folder / HEADER, self.c_text())
        write_atomically(folder / MANIFEST, json.dumps(manifest, indent=2) + "\n")
        return folder / MANIFEST


def load_image(folder: Path | str) -> EngineImage:
    """The image in a folder, its words held to their hash.

    Raises:
        QuietbarError: a file is not there or is not what it should be.
        ConfigurationError: a field is missing, or the words were altered.
    """
    folder = Path(folder)
    try:
        manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
        content = (folder / WORDS).read_bytes()
    except OSError as error:
        raise QuietbarError(f"engine image {folder}: {error.strerror}: {error.filename}") from error
    except ValueError as error:
        raise QuietbarError(f"engine image {folder / MANIFEST} is not JSON: {error}") from error
    require(isinstance(manifest, dict), "engine_image", type(manifest).__name__, "an object")
    require(manifest.get("format") == FORMAT, "engine_image.format", manifest.get("format"), str(FORMAT))
    found = hashlib.sha256(content).hexdigest()
    require(found == manifest.get("sha256"), "engine_image.sha256", found, f"{manifest.get('sha256')}")
    try:
        engine = EngineConfig.from_dict(manifest["engine"])
        taps = {
            tap["name"]: Descriptor(
                BlockConfig.from_dict(tap["block"]),
                **{each: tap[each] for each in ("matrix", "window", "hidden", "channel")},
            )
            for tap in manifest["taps"]
        }
    except (KeyError, TypeError, AttributeError) as error:
        raise ConfigurationError("engine_image", f"without {error}", "a manifest with engine and taps") from error
    for name, descriptor in taps.items():
        descriptor.check(engine, f"engine_image.{name}")
    return EngineImage(engine, taps, tuple(_unpack(np.frombuffer(content, dtype="<u4").tolist())))


def read_engine(path: Path | str) -> EngineConfig:
    """An engine's configuration from a JSON file with the fields of :class:`EngineConfig`; missing ones have defaults.

    Raises:
        QuietbarError: the file is not there or is not JSON.
        ConfigurationError: a field is unknown, or its value not allowed.
    """
    try:
        values = json.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise QuietbarError(f"engine {path}: {error.strerror}") from error
    except ValueError as error:
        raise QuietbarError(f"engine {path} is not JSON: {error}") from error
    require(isinstance(values, dict), "engine", type(values).__name__, "an object with the fields of an engine")
    return EngineConfig.from_dict(values)


def engine_image(bundle: Bundle, engine: EngineConfig) -> EngineImage:
    """The blocks of a bundle, one after the other in the memory of an engine.

    Raises:
        ConfigurationError: they do not fit; the message says what would have to grow, and how many of the taps do fit.
    """
    names, blocks = list(bundle.taps), [tap.config for tap in bundle.taps.values()]
    check_fit(engine, blocks, names)
    descriptors = place(engine, blocks, names)
    writes: list[Write] = []
    for number, (tap, descriptor) in enumerate(zip(bundle.taps.values(), descriptors, strict=True)):
        writes += block_writes(engine, descriptor, tap.parameters, number)
    return EngineImage(engine, dict(zip(names, descriptors, strict=True)), tuple(writes))


def check_fit(engine: EngineConfig, blocks: Sequence[BlockConfig], names: Sequence[str]) -> None:
    """Refuse blocks that an engine does not hold, and say what would fit."""
    try:
        place(engine, blocks, names)
        return
    except ConfigurationError as error:
        cause = error
    count = 0
    for count in range(len(blocks)):
        try:
            place(engine, blocks[: count + 1], names[: count + 1])
        except ConfigurationError:
            break
    try:
        grown = fitting(engine, blocks)
        place(grown, blocks, names)
    except ConfigurationError:
        raise cause from None
    wanted = {
        field.name: getattr(grown, field.name)
        for field in fields(engine)
        if getattr(grown, field.name) != getattr(engine, field.name)
    }
    have = ", ".join(f"{name} = {getattr(engine, name)}" for name in wanted)
    larger = ", ".join(f"{name} = {value}" for name, value in wanted.items())
    allowed = f"an engine with {larger}, or the first {count} of the {len(blocks)} taps ({cause})"
    raise ConfigurationError("engine", have, allowed) from None


def _identifier(tap: str) -> str:
    return "".join(letter if letter.isalnum() and letter.isascii() else "_" for letter in tap).upper()


def _unpack(words: list[int]) -> Iterator[Write]:
    at = 0
    while at < len(words):
        whole = at + 1 < len(words) and at + 2 + words[at + 1] <= len(words)
        require(whole, "engine_image.words", len(words), "whole segments")
        address, count = words[at], words[at + 1]
        for offset in range(count):
            yield address + offset, words[at + 2 + offset]
        at += 2 + count


_C_HEADER = """\
/* Memory of a quietbar engine: parameters and descriptors of its resident blocks. Generated; do not edit. */
#ifndef QUIETBAR_ENGINE_IMAGE_H
#define QUIETBAR_ENGINE_IMAGE_H

#include <stddef.h>
#include <stdint.h>

/* tid of the frames of each tap. */
{blocks}

#define QUIETBAR_IMAGE_WORDS {count}u

/* Segments: word address, number of words, words. */
static const uint32_t quietbar_image[QUIETBAR_IMAGE_WORDS] = {{
    {words}
}};

/* Copy the image to the engine's memory window. The engine must be stopped (control.run = 0) and not busy. */
static inline void quietbar_load_image(volatile uint32_t *memory)
{{
    size_t at = 0;
    while (at < QUIETBAR_IMAGE_WORDS) {{
        const uint32_t address = quietbar_image[at], count = quietbar_image[at + 1];
        for (uint32_t word = 0; word < count; ++word)
            memory[address + word] = quietbar_image[at + 2 + word];
        at += 2 + count;
    }}
}}

#endif
"""
