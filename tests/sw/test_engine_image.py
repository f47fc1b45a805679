"""The engine image: words where the contract puts them, stored, read back; what is altered or too large is refused."""

import json
import shutil
import subprocess

import pytest

from quietbar.cli import main
from quietbar.contract import BlockConfig, ConfigurationError
from quietbar.contract.descriptor import place
from quietbar.contract.engine import EngineConfig, Section
from quietbar.contract.engine_size import fitting
from quietbar.contract.errors import QuietbarError
from quietbar.integer import Bundle, IntegerTap, Scales, random_parameters
from quietbar.integer.engine import block_writes
from quietbar.integer.image import HEADER, HEX, MANIFEST, WORDS, engine_image, load_image

ENGINE = EngineConfig(
    lanes=2, group=2, channels=8, hidden=4, height=6, width=6, blocks=3, matrix_rows=16, window_rows=16, hidden_rows=4,
    channel_rows=8, noise=False,
)  # fmt: skip
BLOCKS = [BlockConfig(8, 4, 6, 5), BlockConfig(5, 2, 3, 3, "dense", signed=True)]


def bundle_of(*blocks):
    scales = Scales(activation=0.1, reduce=0.1, spatial=0.1)
    return Bundle(
        {
            f"layer{number}.0": IntegerTap(f"layer{number}.0", random_parameters(block, number), scales)
            for number, block in enumerate(blocks)
        }
    )


@pytest.fixture(scope="module")
def image():
    return engine_image(bundle_of(*BLOCKS), ENGINE)


def test_it_holds_the_writes_of_every_block_in_order(image):
    expected = [
        write
        for number, (place_, block) in enumerate(zip(place(ENGINE, BLOCKS), BLOCKS, strict=True))
        for write in block_writes(ENGINE, place_, random_parameters(block, number), number)
    ]
    assert list(image.writes) == expected
    assert [image.block(tap) for tap in ("layer0.0", "layer1.0")] == [0, 1]
    with pytest.raises(ConfigurationError, match=r"engine_image.tap = 'layer2'"):
        image.block("layer2")


def test_a_block_s_descriptor_comes_after_all_its_parameters(image):
    last = {number: ENGINE.address(Section.DESCRIPTORS, number, 3) for number in range(2)}
    addresses = [address for address, _ in image.writes]
    assert addresses[-1] == last[1]
    assert len(set(addresses)) == len(addresses)


def test_stored_and_read_back_it_is_the_same_and_so_are_its_bytes(image, tmp_path):
    image.save(tmp_path / "a")
    assert load_image(tmp_path / "a") == image
    load_image(tmp_path / "a").save(tmp_path / "b")
    for name in (MANIFEST, WORDS, HEX, HEADER):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


def test_its_hex_has_the_words_of_its_binary(image, tmp_path):
    image.save(tmp_path)
    words = [int(line, 16) for line in (tmp_path / HEX).read_text().split()]
    assert b"".join(word.to_bytes(4, "little") for word in words) == (tmp_path / WORDS).read_bytes()


@pytest.mark.parametrize("place_of_flip", [0, 7, -1])
def test_a_flipped_bit_is_found_out(image, tmp_path, place_of_flip):
    image.save(tmp_path)
    content = bytearray((tmp_path / WORDS).read_bytes())
    content[place_of_flip] ^= 4
    (tmp_path / WORDS).write_bytes(content)
    with pytest.raises(ConfigurationError, match=r"engine_image.sha256"):
        load_image(tmp_path)


@pytest.mark.parametrize(
    ("text", "what"),
    [("", "is not JSON"), ("[]", "engine_image = 'list'"), ('{"format": 2}', "engine_image.format = 2")],
)
def test_a_manifest_that_is_none_is_refused(image, tmp_path, text, what):
    image.save(tmp_path)
    (tmp_path / MANIFEST).write_text(text)
    with pytest.raises(QuietbarError, match=what.replace(".", r"\.")):
        load_image(tmp_path)
    with pytest.raises(QuietbarError, match="No such file"):
        load_image(tmp_path / "nowhere")


def test_a_bundle_too_large_is_refused_with_what_would_fit():
    blocks = [*BLOCKS, BlockConfig(16, 4, 9, 5), BlockConfig(8, 4, 6, 5)]
    with pytest.raises(ConfigurationError, match=r"channels = 16, height = 9, blocks = 4.* the first 2 of the 4 taps"):
        engine_image(bundle_of(*blocks), ENGINE)
    image = engine_image(bundle_of(*blocks), fitting(ENGINE, blocks))
    assert list(image.taps) == [f"layer{number}.0" for number in range(4)]


def test_an_engine_that_fits_is_left_as_it_is():
    assert fitting(ENGINE, BLOCKS) == ENGINE


def test_taps_of_different_resolution_have_no_engine():
    blocks = [BLOCKS[0], BlockConfig(8, 4, 6, 5, fraction_bits=3)]
    with pytest.raises(ConfigurationError, match="fraction_bits = 3"):
        engine_image(bundle_of(*blocks), ENGINE)


C_PROGRAM = """
#include <stdio.h>
#include "engine_image.h"
static uint32_t memory[1u << 16];
int main(void)
{
    quietbar_load_image(memory);
    for (uint32_t word = 0; word < 1u << 16; ++word)
        if (memory[word]) printf("%u %u\\n", (unsigned)word, (unsigned)memory[word]);
    printf("%u %u\\n", QUIETBAR_BLOCK_LAYER0_0, QUIETBAR_BLOCK_LAYER1_0);
    return 0;
}
"""


@pytest.mark.skipif(shutil.which("cc") is None, reason="no C compiler")
def test_the_c_loader_writes_the_same_words(image, tmp_path):
    image.save(tmp_path)
    (tmp_path / "main.c").write_text(C_PROGRAM)
    warnings = ["-std=c99", "-Wall", "-Wextra", "-Wpedantic", "-Werror"]
    subprocess.run(["cc", *warnings, "-o", "main", "main.c"], cwd=tmp_path, check=True)
    printed = subprocess.run([tmp_path / "main"], capture_output=True, text=True, check=True).stdout.splitlines()
    *words, blocks = [tuple(map(int, line.split())) for line in printed]
    assert dict(words) == {address: word for address, word in image.writes if word}
    assert blocks == (0, 1)


def test_the_command_writes_the_image_and_refuses_bad_engines(image, tmp_path, capsys):
    bundle, file = tmp_path / "bundle", tmp_path / "engine.json"
    bundle_of(*BLOCKS).save(bundle)
    command = ["engine-image", str(bundle), "--engine", str(file), "--folder", str(tmp_path / "image")]
    file.write_text(json.dumps(ENGINE.to_dict()))
    assert main(command) == 0
    assert load_image(tmp_path / "image") == image
    for text, message in (
        ("{", "is not JSON"),
        ("[]", "engine = 'list'"),
        ('{"lane": 2}', "engine.lane = 2: must be absent"),
        ('{"lanes": 3}', "engine.lanes = 3: must be a power of two"),
        (json.dumps({**ENGINE.to_dict(), "blocks": 1}), "an engine with blocks = 2, or the first 1 of the 2 taps"),
    ):
        capsys.readouterr()
        file.write_text(text)
        assert main(command) == 2
        assert message in capsys.readouterr().err
