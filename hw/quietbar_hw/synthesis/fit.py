"""The weights of the estimates, fitted on syntheses: which ones, and how.

Small engines and parts of engines are synthesised and fitted on; engines that are held out only say how far off the
estimates are. Every synthesis is kept, so an interrupted refit goes on where it stopped.
"""

from __future__ import annotations

import hashlib
import json
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from scipy.optimize import nnls

from quietbar import toolchain
from quietbar.contract.engine import REFERENCE, EngineConfig
from quietbar.files import write_atomically

from ..engine.heads import Heads
from ..engine.spatial import Spatial
from ..engine.top import AxiEngine
from ..verilog import to_verilog
from .devices import FAMILIES, places_of
from .estimate import DATA, FEATURES, estimate, features, fixed_places, outside, words_from_dict, words_to_dict
from .tools import run_yosys
from .words import count_words

PARTS: dict[str, Callable[[EngineConfig], Any]] = {"engine": AxiEngine, "spatial": Spatial, "heads": Heads}

_SMALL: dict[str, Any] = {"channels": 4, "hidden": 2, "height": 4, "width": 4, "blocks": 2, "matrix_rows": 8,
                          "window_rows": 8, "hidden_rows": 4, "channel_rows": 4}  # fmt: skip
_MIDDLE: dict[str, Any] = {"channels": 16, "hidden": 4, "height": 16, "width": 16, "blocks": 4, "matrix_rows": 64,
                           "window_rows": 64, "hidden_rows": 16, "channel_rows": 32}  # fmt: skip

TINY = EngineConfig(2, 1, 1, noise=False, kernels="dense", **_SMALL)
ONE = EngineConfig(1, 1, 1, noise=False, kernels="depthwise", **_SMALL)
_SAMPLING = EngineConfig(2, 2, 1, **{**_SMALL, "channels": 8, "hidden": 4, "blocks": 4})
_FOUR = EngineConfig(4, 4, 1, **_MIDDLE)


@dataclass(frozen=True)
class Sample:
    """A synthesis.

    Attributes:
        family: that it is for.
        engine: configuration.
        part: of the engine, by the names of `PARTS`.
        held_out: nothing is fitted on it.
    """

    family: str
    engine: EngineConfig
    part: str = "engine"
    held_out: bool = False

    @property
    def name(self) -> str:
        """For people."""
        engine = self.engine
        what = f"lanes {engine.lanes}, group {engine.group}, outputs {engine.outputs}, {engine.kernels}"
        return f"{self.family}, {self.part}, {what}{', noise' if engine.noise else ''}"


SAMPLES = (
    *(Sample(family, _FOUR, part) for family in ("ecp5", "xilinx7") for part in ("spatial", "heads")),
    *(Sample(family, ONE) for family in FAMILIES),
    *(Sample(family, TINY, held_out=True) for family in FAMILIES),
    Sample("xilinx7", _SAMPLING),
    Sample("ecp5", _SAMPLING, held_out=True),
    *(Sample(family, REFERENCE, held_out=True) for family in ("ecp5", "xilinx7")),
)


def synthesize(sample: Sample) -> dict[str, int]:
    """The resources that Yosys makes of a sample."""
    family = FAMILIES[sample.family]
    with tempfile.TemporaryDirectory(prefix="quietbar-fit-") as name:
        folder = Path(name)
        (folder / "top.v").write_text(to_verilog(PARTS[sample.part](sample.engine), "top"))
        return places_of(family, run_yosys(["read_verilog top.v", *family.commands], folder, sample.name))


def record(sample: Sample, places: Mapping[str, int]) -> dict[str, Any]:
    """A sample with its words and what was synthesised, for ``estimate.json``."""
    return {
        "family": sample.family, "part": sample.part, "held_out": sample.held_out, "engine": sample.engine.to_dict(),
        "words": words_to_dict(count_words(PARTS[sample.part](sample.engine))), "synthesis": dict(places),
    }  # fmt: skip


def fit(records: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, dict[str, float]]]:
    """Weights by family, resource and feature: none negative, the relative errors' squares least."""
    weights: dict[str, dict[str, dict[str, float]]] = {}
    for family in FAMILIES:
        chosen = [each for each in records if each["family"] == family and not each["held_out"]]
        words = [words_from_dict(each["words"]) for each in chosen]
        if not chosen:
            continue
        weights[family] = {}
        for resource, names in FEATURES.items():
            counted = np.array([[features(family, each)[name] for name in names] for each in words], dtype=float)
            whole = np.array([each["synthesis"][resource] for each in chosen], dtype=float)
            rest = whole - [fixed_places(family, each)[resource] for each in words]
            found, _ = nnls(counted / whole[:, None], rest / whole)
            weights[family][resource] = {name: round(float(value), 4) for name, value in zip(names, found, strict=True)}
    return weights


def fits(content: Mapping[str, Any]) -> list[tuple[Sample, dict[str, int], dict[str, int]]]:
    """Each sample with its estimate and its synthesis."""
    found = []
    for each in content["samples"]:
        sample = sample_of(each)
        estimated = estimate(sample.family, words_from_dict(each["words"]), content["weights"][sample.family])
        found.append((sample, estimated, each["synthesis"]))
    return found


def errors(content: Mapping[str, Any]) -> dict[str, list[str]]:
    """By sample: where its synthesis is outside of the band round its estimate."""
    return {sample.name: outside(estimated, synthesis) for sample, estimated, synthesis in fits(content)}


def sample_of(values: Mapping[str, Any]) -> Sample:
    """The sample of a record."""
    return Sample(values["family"], EngineConfig.from_dict(values["engine"]), values["part"], values["held_out"])


def refit(
    cache: Path, samples: Sequence[Sample] = SAMPLES, target: Path = DATA, tell: Callable[[str], None] = print
) -> dict[str, Any]:
    """Synthesise what is not in ``cache`` yet, fit, and write ``target``; its content.

    Raises:
        MissingToolError: there is no Yosys that will do.
    """
    version = toolchain.yosys().version
    records = []
    for sample in samples:
        text = to_verilog(PARTS[sample.part](sample.engine), "top")
        key = "\0".join([text, sample.family, repr(FAMILIES[sample.family]), str(version)])
        file = cache / (hashlib.sha256(key.encode()).hexdigest()[:16] + ".json")
        if not file.is_file():
            tell(f"synthesising: {sample.name}")
            write_atomically(file, json.dumps(synthesize(sample)) + "\n")
        records.append(record(sample, json.loads(file.read_text())))
    content = {
        "command": "quietbar fold --refit",
        "tools": {"yosys": version},
        "weights": fit(records),
        "samples": records,
    }
    lines = ",\n  ".join(json.dumps(each) for each in records)
    head = json.dumps({**content, "samples": []}, indent=1).removesuffix("[]\n}")
    write_atomically(target, f"{head}[\n  {lines}\n ]\n}}\n")
    return content
