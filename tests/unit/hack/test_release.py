"""Downloads: checked against the published digest, and given up fast where nothing answers."""

import hashlib
import http.server
import io
import tarfile
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from hack.cluster.errors import ClusterError
from hack.cluster.packages import GoBuild, Package, Release
from hack.cluster.sources.release import download, expected_digest

_DIGEST = "ab" * 32


@pytest.mark.parametrize(
    "checksums",
    [
        _DIGEST,
        f"{_DIGEST}\n",
        _DIGEST.upper(),
        f"{_DIGEST}  tool.tar.gz\n",
        f"{_DIGEST} *tool.tar.gz\n",
        f"{'cd' * 32}  other.tar.gz\n{_DIGEST}  tool.tar.gz\n",
    ],
)
def test_digest_is_found(checksums: str) -> None:
    assert expected_digest(checksums, "tool.tar.gz") == _DIGEST


@pytest.mark.parametrize(
    "checksums",
    ["", "<html>Not found</html>", f"{_DIGEST}  other.tar.gz", "ab" * 20, "zz" * 32],
)
def test_anything_else_is_no_digest(checksums: str) -> None:
    with pytest.raises(ClusterError, match=r"no SHA-256 of tool\.tar\.gz"):
        expected_digest(checksums, "tool.tar.gz")


def _archive(members: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        for name, content in members.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            tar.addfile(entry, io.BytesIO(content))
    return buffer.getvalue()


class _Files:
    """A release host on the loopback interface."""

    def __init__(self) -> None:
        self.content: dict[str, bytes] = {}
        files = self.content

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                content = files.get(self.path)
                self.send_response(404 if content is None else 200)
                self.send_header("Content-Length", str(len(content or b"")))
                self.end_headers()
                self.wfile.write(content or b"")

            def log_message(self, *_: object) -> None:
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"


@pytest.fixture
def files() -> Iterator[_Files]:
    host = _Files()
    thread = threading.Thread(target=host.server.serve_forever, args=(0.01,))
    thread.start()
    yield host
    host.server.shutdown()
    thread.join()
    host.server.server_close()


def _package(base: str, members: dict[str, str]) -> Package:
    return Package(
        name="tool",
        version="1",
        release=Release(url=f"{base}/tool", checksums_url=f"{base}/tool.sha256", members=members),
        build=GoBuild(recipe="tool", imports={"tool": "example/tool"}),
    )


def test_program_is_downloaded(files: _Files, tmp_path: Path) -> None:
    files.content["/tool"] = b"#!/bin/true"
    files.content["/tool.sha256"] = hashlib.sha256(b"#!/bin/true").hexdigest().encode()

    assert download(_package(files.url, {}), tmp_path)

    assert (tmp_path / "tool").read_bytes() == b"#!/bin/true"
    assert (tmp_path / "tool").stat().st_mode & 0o777 == 0o755


def test_program_is_taken_out_of_an_archive(files: _Files, tmp_path: Path) -> None:
    content = _archive({"linux/tool": b"program", "../escape": b"never looked at"})
    files.content["/tool"] = content
    files.content["/tool.sha256"] = f"{hashlib.sha256(content).hexdigest()}  tool".encode()

    assert download(_package(files.url, {"tool": "linux/tool"}), tmp_path)

    assert [path.name for path in tmp_path.iterdir()] == ["tool"]
    assert (tmp_path / "tool").read_bytes() == b"program"


def test_download_that_is_not_what_its_checksum_says_is_refused(
    files: _Files, tmp_path: Path
) -> None:
    files.content["/tool"] = b"something else"
    files.content["/tool.sha256"] = _DIGEST.encode()

    with pytest.raises(ClusterError, match=f"its release says {_DIGEST}"):
        download(_package(files.url, {}), tmp_path)

    assert list(tmp_path.iterdir()) == []


def test_archive_without_the_program_is_refused(files: _Files, tmp_path: Path) -> None:
    content = _archive({"other": b""})
    files.content["/tool"] = content
    files.content["/tool.sha256"] = hashlib.sha256(content).hexdigest().encode()

    with pytest.raises(ClusterError, match="has no file linux/tool"):
        download(_package(files.url, {"tool": "linux/tool"}), tmp_path)


def test_missing_release_is_left_to_the_next_source(files: _Files, tmp_path: Path) -> None:
    assert not download(_package(files.url, {}), tmp_path)


def test_unreachable_host_is_left_to_the_next_source(tmp_path: Path) -> None:
    package = _package("http://127.0.0.1:1", {})

    assert not download(package, tmp_path)
    assert list(tmp_path.iterdir()) == []
