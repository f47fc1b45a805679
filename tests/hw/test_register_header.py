"""The C header of the engine's registers: it compiles without a warning, and C sees what the map says."""

import shutil
import subprocess

import pytest

from quietbar.contract.engine import REFERENCE
from quietbar_hw.registers import generate
from quietbar_hw.registers.engine import SOURCE, engine_map, engine_parameters
from quietbar_hw.registers.rdl import elaborate

WARNINGS = ["-std=c11", "-Wall", "-Wextra", "-Wpedantic", "-Werror"]
TYPE = "quietbar_engine_t"

pytestmark = pytest.mark.skipif(shutil.which("cc") is None, reason="no C compiler")


@pytest.fixture(scope="module")
def header():
    return generate.c_text(elaborate(SOURCE, engine_parameters(REFERENCE)))


def program():
    """C that prints offset, and each field's mask, place, width and reset, as its compiler sees them."""
    registers = engine_map(REFERENCE)
    lines = ["#include <stddef.h>", "#include <stdio.h>", '#include "engine.h"', "int main(void)", "{"]
    for each in (*registers.registers, *registers.windows):
        lines.append(f'    printf("{each.name} %lu\\n", (unsigned long)offsetof({TYPE}, {each.name}));')
    for register in registers.registers:
        for field in register.fields:
            macro = f"QUIETBAR_ENGINE__{register.name}__{field.name}".upper()
            kinds = ["bm", "bp", "bw", *(["reset"] if field.reset is not None else [])]
            for kind in kinds:
                lines.append(
                    f'    printf("{register.name}.{field.name}.{kind} %lu\\n", (unsigned long){macro}_{kind});'
                )
    lines.append(f'    printf("memory words %lu\\n", (unsigned long)(sizeof((({TYPE} *)0)->memory) / 4));')
    lines += ["    return 0;", "}"]
    return "\n".join(lines) + "\n"


def expected():
    """The same from the map."""
    registers = engine_map(REFERENCE)
    found = {each.name: each.address for each in (*registers.registers, *registers.windows)}
    for register in registers.registers:
        for field in register.fields:
            name = f"{register.name}.{field.name}"
            found |= {f"{name}.bm": ((1 << field.width) - 1) << field.low, f"{name}.bp": field.low}
            found[f"{name}.bw"] = field.width
            if field.reset is not None:
                found[f"{name}.reset"] = field.reset
    (memory,) = registers.windows
    return {**found, "memory words": memory.entries}


def printed(header, folder):
    (folder / "engine.h").write_text(header)
    (folder / "main.c").write_text(program())
    subprocess.run(["cc", *WARNINGS, "-o", "main", "main.c"], cwd=folder, check=True, capture_output=True)
    lines = subprocess.run([folder / "main"], capture_output=True, text=True, check=True).stdout.splitlines()
    return {name: int(value) for name, _, value in (line.rpartition(" ") for line in lines)}


def test_c_sees_every_offset_mask_and_reset_of_the_map(header, tmp_path):
    assert printed(header, tmp_path) == expected()


@pytest.mark.parametrize(
    ("old", "new", "where"),
    [
        ("CONTROL__RESTART_bm 0x2", "CONTROL__RESTART_bm 0x4", "control.restart.bm"),
        ("    uint32_t errors_enable;\n    uint32_t events;\n", "    uint32_t events;\n    uint32_t errors_enable;\n",
         "events"),
    ],
)  # fmt: skip
def test_a_header_that_differs_is_found_out(header, tmp_path, old, new, where):
    assert header.count(old) == 1
    found, wanted = printed(header.replace(old, new), tmp_path), expected()
    assert where in {name for name in wanted if found[name] != wanted[name]}


def test_a_structure_of_another_size_does_not_compile(header, tmp_path):
    with pytest.raises(subprocess.CalledProcessError):
        printed(header.replace("uint8_t RESERVED_5c_7f[0x24]", "uint8_t RESERVED_5c_7f[0x20]"), tmp_path)
