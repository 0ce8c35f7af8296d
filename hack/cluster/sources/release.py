"""Downloads of published releases, each verified with the SHA-256 published beside it."""

import functools
import hashlib
import http.client
import shutil
import socket
import sys
import tarfile
import tempfile
import urllib.request
from pathlib import Path
from typing import IO
from urllib.parse import urlsplit

from hack.cluster.errors import ClusterError
from hack.cluster.packages import Package

_CONNECT_TIMEOUT_SECONDS = 3
_READ_TIMEOUT_SECONDS = 60


def download(package: Package, directory: Path) -> bool:
    """Fill a directory with a package's programs from its release.

    Returns
    -------
    bool
        False if the release's host cannot be reached, which is no error: there is another source.

    Raises
    ------
    ClusterError
        If what was downloaded is not what the checksum says, or not what was expected.
    """
    release = package.release
    host = urlsplit(release.url)
    if not _reachable(host.hostname or "", host.port or 443):
        return False
    try:
        checksums = _read(release.checksums_url)
        file_name = release.url.rpartition("/")[2]
        expected = expected_digest(checksums.decode(errors="replace"), file_name)
        with tempfile.TemporaryFile() as archive:
            _report(f"downloading {file_name}")
            with urllib.request.urlopen(release.url, timeout=_READ_TIMEOUT_SECONDS) as response:
                shutil.copyfileobj(response, archive)
            archive.seek(0)
            actual = hashlib.file_digest(archive, "sha256").hexdigest()
            if actual != expected:
                raise ClusterError(
                    f"{release.url} has SHA-256 {actual}, its release says {expected}"
                )
            archive.seek(0)
            if release.members:
                _extract(archive, package, directory)
            else:
                (directory / package.files[0]).write_bytes(archive.read())
    except (OSError, http.client.HTTPException) as error:
        _report(f"cannot download {release.url}: {error}")
        return False
    for file in package.files:
        (directory / file).chmod(0o755)
    return True


def expected_digest(checksums: str, file_name: str) -> str:
    """Find a file's SHA-256 in a checksum file.

    Parameters
    ----------
    checksums
        Either the bare digest (dl.k8s.io) or lines as `sha256sum` writes them.

    Raises
    ------
    ClusterError
        If no digest is found for the file.
    """
    for line in checksums.splitlines():
        match line.split():
            case [digest] if _is_sha256(digest):
                return digest.lower()
            case [digest, name] if _is_sha256(digest) and name.lstrip("*") == file_name:
                return digest.lower()
    raise ClusterError(f"no SHA-256 of {file_name} among the release's checksums")


def _is_sha256(text: str) -> bool:
    return len(text) == 64 and all(digit in "0123456789abcdefABCDEF" for digit in text)


@functools.cache
def _reachable(host: str, port: int) -> bool:
    """Tell, within seconds and once per run, whether a host (or the way to it) can be reached."""
    if urllib.request.getproxies().get("https"):
        return True  # A proxy resolves and connects; urlopen's own timeout has to do.
    try:
        socket.create_connection((host, port), timeout=_CONNECT_TIMEOUT_SECONDS).close()
    except OSError as error:
        _report(f"{host} cannot be reached ({error}); trying the next source")
        return False
    return True


def _read(url: str) -> bytes:
    with urllib.request.urlopen(url, timeout=_CONNECT_TIMEOUT_SECONDS) as response:
        content: bytes = response.read()
    return content


def _extract(archive: IO[bytes], package: Package, to: Path) -> None:
    with tarfile.open(fileobj=archive, mode="r:gz") as tar:
        for file, member in package.release.members.items():
            try:
                source = tar.extractfile(member)
            except KeyError:
                source = None
            if source is None:
                raise ClusterError(f"{package.release.url} has no file {member}")
            with source, (to / file).open("wb") as target:
                shutil.copyfileobj(source, target)


def _report(message: str) -> None:
    print(message, file=sys.stderr, flush=True)
