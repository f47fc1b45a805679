"""Splits are disjoint and fixed, batches repeat, and files that are not the published ones are refused by name."""

import hashlib
import http.server
import io
import pickle
import tarfile
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import numpy
import pytest
import torch

from quietbar import data
from quietbar.contract.errors import ConfigurationError, QuietbarError
from quietbar.data import (
    Batches,
    DamagedFileError,
    Dataset,
    DownloadError,
    Normalization,
    Split,
    cifar10,
    crop_and_flip,
    permutation,
)

PER_BATCH = 20
VALIDATION = 30
NAMES = (b"airplane", b"automobile", b"bird", b"cat", b"deer", b"dog", b"frog", b"horse", b"ship", b"truck")


@dataclass
class Fabricated:
    """A small set of files in the official format, with checksums of its own."""

    files: dict[str, bytes]
    archive: bytes
    publication: cifar10.Publication

    def unpack(self, folder: Path) -> Path:
        place = folder / cifar10.FOLDER
        place.mkdir(parents=True)
        for name, content in self.files.items():
            (place / name).write_bytes(content)
        return place

    def load(self, folder: Path) -> Dataset:
        return cifar10.load(validation=VALIDATION, publication=self.publication, folders=[folder])


def md5(content: bytes) -> str:
    return hashlib.md5(content).hexdigest()


def pack(files: dict[str, bytes]) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w:gz") as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(f"{cifar10.FOLDER}/{name}")
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return stream.getvalue()


def fabricate(**replaced: bytes) -> Fabricated:
    random = numpy.random.default_rng(1)
    files = {cifar10.META: pickle.dumps({b"label_names": list(NAMES)}, protocol=4)}
    for name in (*cifar10.TRAINING, cifar10.TEST):
        images = random.integers(0, 256, (PER_BATCH, 3072), dtype=numpy.uint8)
        labels = random.integers(0, 10, PER_BATCH).tolist()
        files[name] = pickle.dumps({b"data": images, b"labels": labels}, protocol=4)
    files |= replaced
    archive = pack(files)
    checksums = {name: md5(content) for name, content in files.items()}
    return Fabricated(files, archive, cifar10.Publication("http://127.0.0.1:9/", len(archive), md5(archive), checksums))


@pytest.fixture(scope="module")
def fabricated() -> Fabricated:
    return fabricate()


def rows(images: torch.Tensor) -> set[bytes]:
    return {image.numpy().tobytes() for image in images}


class TestDigits:
    def test_digits_have_a_second_split_with_600_test_images(self) -> None:
        digits, usual = data.load("digits-600-test"), data.load("digits")
        assert (len(digits.train), len(digits.validation), len(digits.test)) == (1017, 180, 600)
        assert torch.equal(digits.test.images[:360], usual.test.images)
        with pytest.raises(ConfigurationError, match=r"digits\.test = 1601: must be an integer from 1 to 1600"):
            data.digits.load(0, 1601)

    def test_has_the_sizes_it_states(self) -> None:
        digits = data.load("digits")
        assert (len(digits.train), len(digits.validation), len(digits.test)) == (1257, 180, 360)
        assert digits.shape == (1, 8, 8)
        assert digits.classes == tuple("0123456789")

    def test_is_the_same_on_every_machine(self) -> None:
        assert data.load("digits").digest == "8f3363cae6a4374c650c0051056852b69a7b6c11616c113c86b5aa1beda4468f"

    def test_splits_hold_every_image_once(self) -> None:
        from sklearn.datasets import load_digits

        digits = data.load("digits")
        together = torch.cat([digits.split(name).images for name in data.SPLITS]).flatten(1)
        published = torch.from_numpy(load_digits().images.astype(numpy.uint8)).flatten(1)
        assert sorted(together.tolist()) == sorted(published.tolist())

    def test_another_seed_changes_validation_but_never_the_test_images(self) -> None:
        one, other = data.load("digits", 0), data.load("digits", 1)
        assert torch.equal(one.test.images, other.test.images)
        assert not torch.equal(one.validation.images, other.validation.images)

    def test_inputs_lie_between_0_and_1(self) -> None:
        inputs, labels = next(iter(data.load("digits").batches("train", 1257)))
        assert inputs.dtype == torch.float32 and labels.dtype == torch.int64
        assert (float(inputs.min()), float(inputs.max())) == (0.0, 1.0)


class TestBadRequests:
    def test_unknown_data_set(self) -> None:
        with pytest.raises(ConfigurationError, match="data = 'mnist': must be one of 'digits', 'cifar10'"):
            data.load("mnist")

    def test_unknown_split(self) -> None:
        with pytest.raises(ConfigurationError, match="split = 'dev'"):
            data.load("digits").batches("dev", 8)

    def test_more_images_than_there_are(self) -> None:
        with pytest.raises(ConfigurationError, match="limit = 361: must be from 1 to 360"):
            data.load("digits").batches("test", 8, limit=361)

    def test_folder_that_does_not_exist(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        monkeypatch.setenv("QUIETBAR_DATA", str(tmp_path / "nowhere"))
        with pytest.raises(ConfigurationError, match=r"QUIETBAR_DATA = '.*nowhere': must be an existing folder"):
            data.load("cifar10")

    def test_label_that_is_no_class(self) -> None:
        good = Split(torch.zeros(2, 1, 8, 8, dtype=torch.uint8), torch.tensor([0, 1]))
        bad = Split(good.images, torch.tensor([0, 3]))
        with pytest.raises(ConfigurationError, match=r"toy\.validation\.labels"):
            Dataset("toy", ("a", "b"), Normalization(1, (0.0,), (1.0,)), good, bad, good)


class TestCifar10Files:
    def test_unpacked_folder_and_archive_give_the_same(self, fabricated: Fabricated, tmp_path: Path) -> None:
        unpacked, packed = tmp_path / "unpacked", tmp_path / "packed"
        fabricated.unpack(unpacked)
        packed.mkdir()
        (packed / cifar10.ARCHIVE).write_bytes(fabricated.archive)
        assert fabricated.load(unpacked).digest == fabricated.load(packed).digest

    def test_images_and_labels_are_those_of_the_file(self, fabricated: Fabricated, tmp_path: Path) -> None:
        fabricated.unpack(tmp_path)
        source = pickle.loads(fabricated.files[cifar10.TEST])
        test = fabricated.load(tmp_path).test
        red_of_row_2_column_5 = source[b"data"][7, 0 * 1024 + 2 * 32 + 5]
        blue_of_row_2_column_5 = source[b"data"][7, 2 * 1024 + 2 * 32 + 5]
        assert int(test.images[7, 0, 2, 5]) == red_of_row_2_column_5
        assert int(test.images[7, 2, 2, 5]) == blue_of_row_2_column_5
        assert test.labels.tolist() == source[b"labels"]

    def test_validation_is_carved_from_the_training_part(self, fabricated: Fabricated, tmp_path: Path) -> None:
        fabricated.unpack(tmp_path)
        loaded = fabricated.load(tmp_path)
        train, validation, test = (rows(loaded.split(name).images) for name in data.SPLITS)
        assert (len(train), len(validation), len(test)) == (5 * PER_BATCH - VALIDATION, VALIDATION, PER_BATCH)
        assert not train & validation and not train & test and not validation & test
        assert loaded.classes == tuple(name.decode() for name in NAMES)

    def test_folder_below_cifar10_is_found(self, fabricated: Fabricated, tmp_path: Path) -> None:
        fabricated.unpack(tmp_path / "cifar10")
        assert len(fabricated.load(tmp_path).test) == PER_BATCH

    def test_truncated_archive_is_refused_by_name(self, fabricated: Fabricated, tmp_path: Path) -> None:
        size = len(fabricated.archive)
        (tmp_path / cifar10.ARCHIVE).write_bytes(fabricated.archive[:-1000])
        with pytest.raises(DamagedFileError) as caught:
            fabricated.load(tmp_path)
        for part in (cifar10.ARCHIVE, fabricated.publication.archive_md5, f"{size - 1000:,} of {size:,} bytes"):
            assert part in str(caught.value)

    @pytest.mark.parametrize("name", [*cifar10.TRAINING, cifar10.TEST, cifar10.META])
    def test_one_altered_bit_is_refused_by_name(self, fabricated: Fabricated, tmp_path: Path, name: str) -> None:
        file = fabricated.unpack(tmp_path) / name
        content = bytearray(file.read_bytes())
        content[len(content) // 2] ^= 1
        file.write_bytes(content)
        with pytest.raises(DamagedFileError, match=f"{name} is truncated or altered: its MD5 is") as caught:
            fabricated.load(tmp_path)
        assert caught.value.expected == fabricated.publication.file_md5[name]
        assert caught.value.found == md5(bytes(content))

    def test_altered_file_in_an_archive_that_passes_is_refused(self, fabricated: Fabricated, tmp_path: Path) -> None:
        files = fabricated.files | {"data_batch_3": fabricated.files["data_batch_2"]}
        archive = pack(files)
        (tmp_path / cifar10.ARCHIVE).write_bytes(archive)
        publication = replace(fabricated.publication, archive_md5=md5(archive), size=len(archive))
        with pytest.raises(DamagedFileError, match="data_batch_3"):
            cifar10.load(validation=VALIDATION, publication=publication, folders=[tmp_path])

    def test_is_at_hand_or_not(self, fabricated: Fabricated, tmp_path: Path) -> None:
        assert not cifar10.at_hand([tmp_path])
        fabricated.unpack(tmp_path)
        assert cifar10.at_hand([tmp_path / "elsewhere", tmp_path])

    def test_missing_file_is_named(self, fabricated: Fabricated, tmp_path: Path) -> None:
        (fabricated.unpack(tmp_path) / "data_batch_4").unlink()
        with pytest.raises(QuietbarError, match="data_batch_4 is missing"):
            fabricated.load(tmp_path)

    def test_pickle_with_other_objects_is_refused_unmade(self, tmp_path: Path) -> None:
        hostile = fabricate(test_batch=pickle.dumps(Hostile(tmp_path / "made"), protocol=4))
        hostile.unpack(tmp_path)
        with pytest.raises(QuietbarError, match="has no place in a CIFAR-10 file"):
            hostile.load(tmp_path)
        assert not (tmp_path / "made").exists()

    def test_validation_must_leave_something_to_train_on(self, fabricated: Fabricated, tmp_path: Path) -> None:
        fabricated.unpack(tmp_path)
        with pytest.raises(ConfigurationError, match=r"cifar10\.validation = 100: must be an integer from 1 to 99"):
            cifar10.load(validation=100, publication=fabricated.publication, folders=[tmp_path])


class Hostile:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple:
        return Path.touch, (self.path,)


class Server:
    """Serves ``content`` on this machine; ``cut`` ends each transfer after so many bytes without saying so."""

    def __init__(self) -> None:
        self.content, self.cut, self.ranges = b"", None, True
        self.seen: list[str | None] = []
        server = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                wanted = self.headers.get("Range")
                server.seen.append(wanted)
                first = int(wanted.removeprefix("bytes=").rstrip("-")) if wanted and server.ranges else 0
                if first and first >= len(server.content):
                    self.send_error(416)
                    return
                rest = server.content[first:]
                self.send_response(206 if first else 200)
                self.send_header("Content-Length", str(len(rest)))
                self.end_headers()
                self.wfile.write(rest if server.cut is None else rest[: server.cut])

            def log_message(self, *_: object) -> None:
                pass

        self.http = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.http.server_port}/file"


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("no_proxy", "127.0.0.1")


@pytest.fixture
def server():
    served = Server()
    thread = threading.Thread(target=served.http.serve_forever, args=(0.01,))
    thread.start()
    yield served
    served.http.shutdown()
    served.http.server_close()
    thread.join()


class TestDownload:
    content = bytes(range(256)) * 5000

    def fetch(self, server: Server, folder: Path) -> Path:
        return data.download(server.url, folder / "new" / "file", md5(self.content), "md5")

    def test_gives_the_published_bytes(self, server: Server, tmp_path: Path) -> None:
        server.content = self.content
        assert self.fetch(server, tmp_path).read_bytes() == self.content

    def test_does_not_download_again(self, server: Server, tmp_path: Path) -> None:
        server.content = self.content
        self.fetch(server, tmp_path)
        self.fetch(server, tmp_path)
        assert len(server.seen) == 1

    def test_transfers_once_for_all_who_ask_at_the_same_time(self, server: Server, tmp_path: Path) -> None:
        server.content = self.content
        with ThreadPoolExecutor(4) as pool:
            asked = [pool.submit(self.fetch, server, tmp_path) for _ in range(4)]
        assert all(one.result().read_bytes() == self.content for one in asked)
        assert len(server.seen) == 1

    def test_goes_on_where_a_transfer_broke_off(self, server: Server, tmp_path: Path) -> None:
        server.content, server.cut = self.content, 1_000_000
        with pytest.raises(DownloadError, match=r"ended after 1,000,000 of 1,280,000 bytes"):
            self.fetch(server, tmp_path)
        assert not (tmp_path / "new" / "file").exists()
        server.cut = None
        assert self.fetch(server, tmp_path).read_bytes() == self.content
        assert server.seen == [None, "bytes=1000000-"]

    def test_starts_again_where_the_server_cannot_go_on(self, server: Server, tmp_path: Path) -> None:
        server.content, server.cut, server.ranges = self.content, 1_000_000, False
        with pytest.raises(DownloadError):
            self.fetch(server, tmp_path)
        server.cut = None
        assert self.fetch(server, tmp_path).read_bytes() == self.content

    def test_takes_a_part_that_was_whole(self, server: Server, tmp_path: Path) -> None:
        server.content = self.content
        (tmp_path / "new").mkdir()
        (tmp_path / "new" / "file.part").write_bytes(self.content)
        assert self.fetch(server, tmp_path).read_bytes() == self.content

    def test_wrong_content_is_refused_and_not_kept(self, server: Server, tmp_path: Path) -> None:
        server.content = self.content[:-1] + b"\0"
        with pytest.raises(DamagedFileError, match=f"its MD5 is {md5(server.content)}, must be {md5(self.content)}"):
            self.fetch(server, tmp_path)
        assert [path.name for path in (tmp_path / "new").iterdir()] == ["file.lock"]
        server.content = self.content
        assert self.fetch(server, tmp_path).read_bytes() == self.content

    def test_no_connection_says_where_to_put_the_file(self, tmp_path: Path) -> None:
        with pytest.raises(DownloadError, match=r"refused.*put file into .* QUIETBAR_DATA"):
            data.download("http://127.0.0.1:9/file", tmp_path / "file", "0", "md5")

    def test_cifar10_comes_from_the_network_where_no_folder_has_it(
        self, server: Server, fabricated: Fabricated, tmp_path: Path
    ) -> None:
        server.content = fabricated.archive
        publication = replace(fabricated.publication, url=server.url)
        loaded = cifar10.load(validation=VALIDATION, publication=publication, folders=[tmp_path / "a", tmp_path / "b"])
        assert (tmp_path / "b" / cifar10.ARCHIVE).read_bytes() == fabricated.archive
        assert len(loaded.test) == PER_BATCH


class TestBatches:
    images = torch.arange(10 * 3 * 4 * 4, dtype=torch.float32).view(10, 3, 4, 4)
    labels = torch.arange(10)

    def test_cover_every_image_once_and_the_last_is_smaller(self) -> None:
        batches = Batches(self.images, self.labels, 4, shuffle_seed=1)
        assert [len(labels) for _, labels in batches] == [4, 4, 2] and len(batches) == 3
        assert sorted(torch.cat([labels for _, labels in batches]).tolist()) == list(range(10))
        for inputs, labels in batches:
            assert torch.equal(inputs, self.images[labels])

    def test_keep_the_order_without_a_seed(self) -> None:
        assert torch.cat([labels for _, labels in Batches(self.images, self.labels, 3)]).tolist() == list(range(10))

    def test_repeat_within_an_epoch_and_differ_between_epochs(self) -> None:
        batches = Batches(self.images, self.labels, 3, shuffle_seed=1, augment=crop_and_flip)
        assert same(list(batches), list(batches))
        assert same(list(batches), list(batches.at_epoch(0)))
        assert not same(list(batches), list(batches.at_epoch(1)))
        assert not same(list(batches), list(replace(batches, shuffle_seed=2)))

    @pytest.mark.parametrize("start", [0, 1, 3, 4])
    def test_go_on_from_the_middle_of_an_epoch(self, start: int) -> None:
        batches = Batches(self.images, self.labels, 3, shuffle_seed=1, augment=crop_and_flip)
        rest = batches.at_epoch(5, start)
        assert len(rest) == 4 - start
        assert same(list(batches.at_epoch(5))[start:], list(rest))

    def test_leave_the_random_state_of_torch_alone(self) -> None:
        before = torch.get_rng_state()
        list(Batches(self.images, self.labels, 3, shuffle_seed=1, augment=crop_and_flip))
        assert torch.equal(before, torch.get_rng_state())

    def test_leave_the_stored_images_alone(self) -> None:
        before = self.images.clone()
        normalization = Normalization(255, (0.5,) * 3, (0.25,) * 3)
        list(Batches(self.images, self.labels, 3, normalization=normalization))
        assert torch.equal(before, self.images)

    def test_order_is_the_same_on_every_machine(self) -> None:
        assert permutation(10, 7).tolist() == [6, 3, 4, 9, 0, 2, 8, 7, 5, 1]

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            ({"size": 0}, "batches.size = 0"),
            ({"size": True}, "batches.size = True"),
            ({"labels": torch.arange(9)}, r"batches.labels = \(9,\): must be \(10,\)"),
            ({"shuffle_seed": -1}, "batches.shuffle_seed = -1"),
            ({"augment": crop_and_flip}, "batches.shuffle_seed = None: must be a seed where the images are augmented"),
            ({"start": 5}, "batches.start = 5"),
            ({"images": torch.zeros(10, 8, 8)}, "batches.images"),
        ],
    )
    def test_refuse_what_they_cannot_do(self, change: dict, message: str) -> None:
        with pytest.raises(ConfigurationError, match=message):
            Batches(**{"images": self.images, "labels": self.labels, "size": 3} | change)


def same(one: list, other: list) -> bool:
    return len(one) == len(other) and all(
        torch.equal(a, c) and torch.equal(b, d) for (a, b), (c, d) in zip(one, other, strict=True)
    )


class TestAugmentation:
    def test_shows_windows_of_the_padded_image_or_of_its_mirror_image(self) -> None:
        image = torch.randint(1, 256, (1, 2, 6, 5), dtype=torch.uint8)
        padded = torch.nn.functional.pad(image[0], (4, 4, 4, 4))
        windows = {
            padded[:, row : row + 6, column : column + 5].flip(flip).numpy().tobytes(): (row, column, bool(flip))
            for row in range(9)
            for column in range(9)
            for flip in ((), (2,))
        }
        made = crop_and_flip(image.expand(5000, -1, -1, -1), torch.Generator().manual_seed(3))
        assert made.dtype == torch.uint8 and made.shape == (5000, 2, 6, 5)
        seen = {windows[one.numpy().tobytes()] for one in made}
        assert len(seen) == 9 * 9 * 2

    def test_moves_each_image_on_its_own(self) -> None:
        image = torch.randint(1, 256, (1, 1, 8, 8), dtype=torch.uint8)
        assert len(rows(crop_and_flip(image.expand(64, -1, -1, -1), torch.Generator().manual_seed(3)))) > 30


class TestNormalization:
    def test_is_the_formula(self) -> None:
        images = torch.tensor([0, 51, 255], dtype=torch.uint8).view(1, 3, 1, 1)
        inputs = Normalization(255, (0.5, 0.1, 0.25), (0.25, 0.1, 0.5))(images)
        assert torch.allclose(inputs.flatten(), torch.tensor([-2.0, 1.0, 1.5]))

    def test_refuses_images_of_other_channels(self) -> None:
        with pytest.raises(ConfigurationError, match=r"images.shape\[1\] = 3: must be 1 channels"):
            Normalization(16, (0.0,), (1.0,))(torch.zeros(1, 3, 2, 2))

    def test_refuses_a_std_of_zero(self) -> None:
        with pytest.raises(ConfigurationError, match=r"normalization\.std"):
            Normalization(16, (0.0,), (0.0,))


@pytest.mark.skipif(not cifar10.at_hand(), reason="CIFAR-10 is on this machine neither under QUIETBAR_DATA nor cached")
def test_official_cifar10_is_the_same_on_every_machine() -> None:
    loaded = data.load("cifar10")
    assert loaded.digest == "b95105897b92b7d4e763bd74bafd483f3f804c61c4f7f5c5603d3f6269c0961e"
    assert torch.bincount(loaded.test.labels).tolist() == [1000] * 10
