"""Whether two versions of a design are the same: equal after simplification, or equal register by register."""

from __future__ import annotations

from .yosys import ProofError, UnfinishedError, Yosys, last_lines

SCRIPT = """
read_rtlil {name}.il
hierarchy -top {top}
proc
flatten
memory_map
async2sync
opt -full
clean -purge
"""


def equivalent(sound: str, other: str, top: str = "top", cycles: int = 4, seconds: float = 300) -> bool:
    """Whether Yosys proves that module ``top`` of two RTLIL texts behaves the same; False where it cannot
    within ``seconds``.

    Both are flattened and simplified; then every register and output of one has to be the other's, for ever, given that
    all were equal in ``cycles`` cycles before. The two must start from equal values, which is not looked at. States
    that are never reached count, so a False is no proof that they differ.

    Raises:
        MissingToolError: there is no Yosys that will do.
        ProofError: Yosys could not read a text.
    """
    lines = []
    for name in ("sound", "other"):
        lines += [
            *SCRIPT.format(name=name, top=top).strip().splitlines(),
            f"rename {top} {name}",
            f"design -stash {name}",
        ]
    lines += [f"design -copy-from {name} -as {name} {name}" for name in ("sound", "other")]
    lines += ["equiv_make sound other both", "hierarchy -top both", "opt -full"]
    lines += ["equiv_simple -undef", f"equiv_induct -undef -seq {cycles}", "equiv_status -assert"]
    with Yosys.on({"sound.il": sound, "other.il": other}) as yosys:
        try:
            proven, said = yosys.run(lines, seconds)
        except UnfinishedError:
            return False
    if proven or "unproven $equiv" in said:
        return proven
    raise ProofError("Yosys gave no verdict: " + last_lines(said))
