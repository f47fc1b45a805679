"""Gaussian sources in co-simulation: Verilog, vectors of any stretch of any seed, explanations."""

from __future__ import annotations

import functools
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from quietbar.contract import gaussian, inverse_cdf
from quietbar.contract.errors import require_integer
from quietbar.contract.gaussian import SAMPLE
from quietbar.contract.seeds import SEED_HIGH, derive_seed
from quietbar.contract.sources import SourceConfig
from quietbar.contract.uniform import LFSR161, LFSR258, output
from quietbar.files import write_atomically
from quietbar.integer.sources import source_array

from .build import Design, design_of
from .stalls import Stalls
from .vectors import Job, Scenario, Vectors, pack

PIECE = 1 << 22
"""Samples that are compared at a time."""
SEEDS_HIGH = 1 << 16
COUNT_HIGH = 1 << 40


@functools.lru_cache(maxsize=16)
def source_design(config: SourceConfig) -> Design:
    """The Verilog of a source with its AXI4-Stream ports."""
    from quietbar_hw.gaussian import AxiGaussianSource

    return design_of(AxiGaussianSource(config), "gaussian")


def source_vectors(config: SourceConfig, seed: int, transfers: int, start: int = 0) -> Vectors:
    """The SEED frame in; ``transfers`` transfers out, from sample ``start`` of ``seed`` on."""
    samples = source_array(config.kind, seed, transfers * config.lanes, start)
    return Vectors(
        configuration=(tuple(config.seed_frame(seed, start)),),
        inputs=None,
        frame_beats=1,
        expected=pack(samples.reshape(transfers, config.lanes), SAMPLE.bits),
        output_frame_beats=0,
        lanes=config.lanes,
        element=SAMPLE,
        axes=(("sample", samples.size),),
    )


@dataclass(frozen=True)
class SourceSubject:
    """A stretch of a source's sequence, for telling how the reference arrives at a sample."""

    config: SourceConfig
    seed: int
    start: int

    def explain(self, position: Mapping[str, int]) -> str:
        """The draw of a sample, and what its parts say."""
        sample = self.start + position["sample"]
        if self.config.kind == "box-muller":
            draw = output(LFSR258.state_before(self.seed, sample // 2 + 1))
            exponent = gaussian.exponent(draw >> 16)
            angle = draw & ((1 << gaussian.ANGLE_BITS) - 1)
            return (
                f"sample {sample} of seed {self.seed}, {('first', 'second')[sample % 2]} of draw {draw:#018x}: "
                f"exponent {exponent}, radius {gaussian.radius(exponent)}, angle {angle}"
            )
        draw = output(LFSR161.state_before(self.seed, sample + 1))
        octave = inverse_cdf.OCTAVE_BITS - (draw >> inverse_cdf.SIGN_BIT + 1).bit_length()
        segment = draw >> inverse_cdf.PLACE_BITS & ((1 << inverse_cdf.FINE_BITS) - 1)
        return (
            f"sample {sample} of seed {self.seed}, draw {draw:#018x}: "
            f"octave {octave}, row {inverse_cdf.row_of(octave, segment)}"
        )

    def save(self, folder: Path) -> None:
        """Store the fields as ``source.json``."""
        facts = {"config": self.config.to_dict(), "seed": self.seed, "start": self.start}
        write_atomically(folder / "source.json", json.dumps(facts) + "\n")

    @classmethod
    def load(cls, folder: Path) -> SourceSubject:
        """The inverse of :meth:`save`."""
        facts = json.loads((folder / "source.json").read_text())
        return cls(SourceConfig(**facts["config"]), facts["seed"], facts["start"])


def source_job(config: SourceConfig, seed: int, transfers: int, start: int, scenario: Scenario) -> Job:
    """A stretch of a seed's sequence in a scenario."""
    vectors = source_vectors(config, seed, transfers, start)
    name = f"{config.kind}, {config.lanes} lanes, seed {seed}, from sample {start}"
    return Job(name, vectors, scenario, SourceSubject(config, seed, start))


def stretches(config: SourceConfig, seeds: int, count: int, seed: int) -> Iterator[Job]:
    """At least ``count`` samples of ``seeds`` seeds, no more than `PIECE` or so to a job.

    The first seeds are the least and the greatest there are, the others are derived from ``seed``. Every second one
    starts somewhere in its sequence; four kinds of stalls take turns.

    Raises:
        ConfigurationError: ``seeds`` or ``count`` is not an integer in its range.
    """
    require_integer("--seeds", seeds, 1, SEEDS_HIGH)
    require_integer("--count", count, seeds, COUNT_HIGH)
    transfers, piece = -(-count // (seeds * config.lanes)), PIECE // config.lanes
    for number in range(seeds):
        own = (0, SEED_HIGH)[number] if number < 2 else derive_seed(seed, "source", number)
        begin = derive_seed(seed, "start", number) >> 3 & -2 if number % 2 else 0
        pattern = derive_seed(seed, "stalls", number)
        scenario = (
            Scenario("no stalls"),
            Scenario("random stalls", output_stalls=Stalls("random", 0.3, pattern)),
            Scenario("patient sink", output_stalls=Stalls("patient")),
            Scenario("bursty stalls", output_stalls=Stalls("bursty", seed=pattern)),
        )[(number + number // 4) % 4]
        for first in range(0, transfers, piece):
            yield source_job(config, own, min(piece, transfers - first), begin + first * config.lanes, scenario)
