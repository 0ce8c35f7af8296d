"""A real PostgreSQL: the machine's own programs or Debian's, as a process on a Unix socket."""

from __future__ import annotations

import contextlib
import os
import platform
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self
from urllib.parse import quote
from uuid import uuid4

import asyncpg
import pytest

from hack.cluster import debian

_INSTALLED = Path("/usr/lib/postgresql")
_SUPERUSER = "postgres"

_FAST = {
    # What a test server holds need not outlive the machine.
    "fsync": "off",
    "full_page_writes": "off",
    "max_connections": "300",
    "listen_addresses": "",
    "jit": "off",
}

_VERSIONS = {"bookworm": "15", "trixie": "17", "forky": "18"}
"""Which PostgreSQL each release of Debian has."""


@dataclass(frozen=True, kw_only=True)
class Programs:
    """Where PostgreSQL's programs are, and where they find their libraries."""

    directory: Path
    libraries: tuple[Path, ...] = ()

    def environment(self) -> dict[str, str]:
        """Return the environment to run them in."""
        environment = {name: value for name, value in os.environ.items() if name[:2] != "PG"}
        environment["LC_ALL"] = "C.UTF-8"
        if self.libraries:
            environment["LD_LIBRARY_PATH"] = ":".join(map(str, self.libraries))
        return environment


def programs() -> Programs:
    """Return the newest PostgreSQL of this machine, or else Debian's, unpacked into the cache."""
    installed = sorted(
        _INSTALLED.glob("[0-9]*/bin/postgres"), key=lambda path: int(path.parent.parent.name)
    )
    if installed:
        return Programs(directory=installed[-1].parent)
    if found := shutil.which("postgres"):
        return Programs(directory=Path(found).resolve().parent)
    return unpacked_programs()


def unpacked_programs() -> Programs:
    """Return Debian's PostgreSQL from the cache, with the library that only it brings along."""
    release = platform.freedesktop_os_release().get("VERSION_CODENAME", "")
    assert release in _VERSIONS, "no PostgreSQL: install Debian's package postgresql or its like"
    root = debian.unpacked(f"postgresql-{_VERSIONS[release]}")
    (program,) = root.glob("usr/lib/postgresql/*/bin/postgres")
    libraries = debian.unpacked("libpq5").glob("usr/lib/*-linux-gnu*")
    return Programs(directory=program.parent, libraries=tuple(libraries))


def _account() -> pwd.struct_passwd | None:
    """Return whom the server runs as: it refuses to be root."""
    if os.geteuid() != 0:
        return None
    for name in (_SUPERUSER, "nobody"):
        try:
            return pwd.getpwnam(name)
        except KeyError:
            continue
    raise AssertionError("PostgreSQL does not run as root; there is no user postgres or nobody")


def _copied(found: Programs, directory: Path) -> Programs:
    """Copy programs out of root's cache to where the server's user may read them."""
    root = found.directory.parents[4]
    target = directory / "programs"
    for part in ("usr/lib/postgresql", "usr/share/postgresql"):
        shutil.copytree(
            root / part, target / part, ignore=shutil.ignore_patterns("bitcode", "llvmjit*")
        )
    libraries = target / "libraries"
    for library in found.libraries:
        shutil.copytree(library, libraries, symlinks=True, dirs_exist_ok=True)
    return Programs(directory=target / found.directory.relative_to(root), libraries=(libraries,))


@dataclass(kw_only=True)
class Postgres:
    """One server; `stop` ends it and removes what it held."""

    programs: Programs
    directory: Path
    parameters: Mapping[str, str]
    process: subprocess.Popen[bytes] | None = None

    @classmethod
    def start(cls, **parameters: str) -> Self:
        """Make a server and start it, with some of its parameters set."""
        # Not below pytest's directories, which only their owner may enter.
        directory = Path(tempfile.mkdtemp(prefix="postgres-"))
        account = _account()
        found = programs()
        if account is not None:
            os.chown(directory, account.pw_uid, account.pw_gid)
            if found.libraries:
                found = _copied(found, directory)
        server = cls(programs=found, directory=directory, parameters=_FAST | parameters)
        try:
            server._initialise()
            server.run()
        except BaseException:
            server.stop()
            raise
        return server

    def run(self) -> None:
        """Start the process, again after `kill` or `shutdown`, and wait until it answers."""
        options = [f"--{name}={value}" for name, value in self.parameters.items()]
        with self._log.open("ab") as output:
            self.process = subprocess.Popen(
                [
                    str(self.programs.directory / "postgres"),
                    "-D",
                    str(self._data),
                    f"--unix_socket_directories={self.directory}",
                    *options,
                ],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env=self.programs.environment(),
                **self._as_account(),
            )
        self._wait_ready()

    def kill(self) -> None:
        """Kill the server with all its processes, as a crash of the machine would."""
        self._end(signal.SIGQUIT)

    def crash(self) -> None:
        """Kill -9 the server alone; its processes notice, and are waited for.

        The data cannot be had by another server before.
        """
        assert self.process is not None
        children = _children(self.process.pid)
        self.process.kill()
        self.process.wait()
        self.process = None
        end = time.monotonic() + 30
        while any(_is_running(child) for child in children):
            assert time.monotonic() < end, "PostgreSQL's processes outlive it"
            time.sleep(0.01)

    def shutdown(self) -> None:
        """Stop the server, closing all connections in order."""
        self._end(signal.SIGINT)

    def stop(self) -> None:
        """End it for good."""
        self._end(signal.SIGQUIT)
        shutil.rmtree(self.directory)

    def url(self, database: str = _SUPERUSER) -> str:
        """Return the URL of a database, as libpq and the gateway's settings read it."""
        port = f"&port={self.parameters['port']}" if "port" in self.parameters else ""
        host = quote(str(self.directory), safe="")
        return f"postgresql://{_SUPERUSER}@/{database}?host={host}{port}"

    @asynccontextmanager
    async def database(self) -> AsyncIterator[str]:
        """Make an empty database and give its URL; it is dropped afterwards."""
        name = f"test_{uuid4().hex}"
        await self.execute(f"CREATE DATABASE {name} TEMPLATE template0")
        try:
            yield self.url(name)
        finally:
            await self.execute(f"DROP DATABASE {name} WITH (FORCE)")

    async def execute(self, statement: str, *, url: str | None = None) -> None:
        """Run one statement."""
        connection = await asyncpg.connect(url or self.url())
        try:
            await connection.execute(statement)
        finally:
            await connection.close()

    @property
    def _data(self) -> Path:
        return self.directory / "data"

    @property
    def _log(self) -> Path:
        return self.directory / "log"

    def _initialise(self) -> None:
        result = subprocess.run(
            [
                str(self.programs.directory / "initdb"),
                f"--pgdata={self._data}",
                f"--username={_SUPERUSER}",
                "--auth=trust",
                "--encoding=UTF8",
                "--locale=C.UTF-8",
                "--no-sync",
            ],
            capture_output=True,
            text=True,
            check=False,
            env=self.programs.environment(),
            cwd=self.directory,
            **self._as_account(),
        )
        assert result.returncode == 0, result.stderr

    def _as_account(self) -> dict[str, Any]:
        account = _account()
        if account is None:
            return {}
        return {"user": account.pw_uid, "group": account.pw_gid, "extra_groups": []}

    def _end(self, number: signal.Signals) -> None:
        if self.process is not None:
            self.process.send_signal(number)
            try:
                self.process.wait(30)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
            self.process = None

    def _wait_ready(self) -> None:
        end = time.monotonic() + 60
        while True:
            assert self.process is not None
            assert self.process.poll() is None, self._log.read_text(errors="replace")[-4000:]
            assert time.monotonic() < end, "PostgreSQL does not become ready"
            # As pg_ctl: the first line of the file says whose it is, the last one how far that is.
            with contextlib.suppress(FileNotFoundError):
                lines = (self._data / "postmaster.pid").read_text().split()
                if lines[:1] == [str(self.process.pid)] and lines[-1] == "ready":
                    return
            time.sleep(0.05)


def _children(pid: int) -> list[int]:
    return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def _is_running(pid: int) -> bool:
    """Whether a process has not ended; who has not been waited for has ended all the same."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state != "Z"


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """A server for all tests of one process; each makes databases of its own."""
    server = Postgres.start()
    yield server
    server.stop()
