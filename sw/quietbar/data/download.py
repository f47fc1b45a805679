"""Files from the network that are what was published, or are refused."""

from __future__ import annotations

import fcntl
import http.client
import urllib.error
import urllib.request
from pathlib import Path

from tqdm import tqdm

from quietbar.contract.errors import QuietbarError
from quietbar.files import hash_file

from .folders import VARIABLE

CHUNK = 1 << 18
TIMEOUT = 30.0  # seconds without a byte


class DamagedFileError(QuietbarError):
    """A file's content is not what its publisher's checksum says.

    Attributes:
        file: the file's path or name.
        expected: published checksum, hexadecimal.
        found: checksum of the content.
    """

    def __init__(self, file: Path | str, algorithm: str, expected: str, found: str, note: str = "") -> None:
        self.file, self.expected, self.found = file, expected, found
        super().__init__(
            f"{file} is truncated or altered: its {algorithm.upper()} is {found}, must be {expected}"
            + (f" ({note})" if note else "")
        )


class DownloadError(QuietbarError):
    """A file could not be had from the network."""


def check_file(path: Path, checksum: str, algorithm: str, size: int | None = None) -> None:
    """Refuse a file whose content does not have the published ``checksum``; ``size`` in bytes makes the error clearer.

    Raises:
        DamagedFileError: naming the file, what was expected and what was found.
    """
    found = hash_file(path, algorithm)
    if found != checksum:
        note = f"{path.stat().st_size:,} of {size:,} bytes" if size is not None else ""
        raise DamagedFileError(path, algorithm, checksum, found, note)


def download(url: str, target: Path, checksum: str, algorithm: str) -> Path:
    """Fetch ``url`` to ``target``, which appears only when it is whole and has the published ``checksum``.

    What was transferred is kept beside it in ``<name>.part``; the next call goes on from there. Several processes may
    call this at once: the first one transfers, the others wait.

    Raises:
        DownloadError: no connection, a refusal, or a transfer that ended early.
        DamagedFileError: the transfer is whole but not what was published.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(target.name + ".part")
    # The lock has a file of its own, which stays: a lock on the part would be lost when the part is renamed.
    with open(target.with_name(target.name + ".lock"), "wb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if target.exists():
            return target
        _transfer(url, part)
        found = hash_file(part, algorithm)
        if found != checksum:
            part.unlink()
            raise DamagedFileError(url, algorithm, checksum, found, "what was transferred is deleted")
        part.replace(target)
    return target


def _transfer(url: str, part: Path) -> None:
    """Append to ``part`` what it lacks of ``url``."""
    there = part.stat().st_size if part.exists() else 0
    request = urllib.request.Request(url, headers={"Range": f"bytes={there}-"} if there else {})
    try:
        with urllib.request.urlopen(request, timeout=TIMEOUT) as response:
            if response.status != http.HTTPStatus.PARTIAL_CONTENT:
                there = 0
            rest = response.headers.get("Content-Length")
            total = there + int(rest) if rest is not None else None
            with (
                open(part, "ab" if there else "wb") as stream,
                tqdm(total=total, initial=there, unit="B", unit_scale=True, desc=part.stem, disable=None) as bar,
            ):
                while chunk := response.read(CHUNK):
                    stream.write(chunk)
                    bar.update(len(chunk))
    except urllib.error.HTTPError as error:
        if error.code == http.HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
            return  # nothing is lacking; the checksum says whether it is right
        raise _unreachable(url, part, f"the server answers {error.code} {error.reason}") from error
    except (OSError, http.client.HTTPException) as error:
        raise _unreachable(url, part, str(getattr(error, "reason", None) or error)) from error
    if total is not None and part.stat().st_size < total:
        raise DownloadError(
            f"{url}: the transfer ended after {part.stat().st_size:,} of {total:,} bytes; call again to go on"
        )


def _unreachable(url: str, part: Path, reason: str) -> DownloadError:
    place = f"{part.parent} or the folder that {VARIABLE} names"
    return DownloadError(f"{url}: {reason}; call again to go on, or put {part.stem} into {place}")
