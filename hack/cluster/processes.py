"""Long-running processes that outlive the command which started them.

A process is recorded with its start time and the boot it belongs to, so that a recycled process id
is never taken for ours.
"""

import contextlib
import json
import os
import signal
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from hack.cluster.errors import ClusterError

_LOG_TAIL_LINES = 15


@dataclass(frozen=True, kw_only=True)
class Process:
    """A process this tool started."""

    name: str
    pid: int
    start_time: int
    """Clock ticks after boot: field 22 of `/proc/PID/stat` (proc(5))."""
    boot_id: str
    log: str


def _boot_id() -> str:
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


def _stat(pid: int) -> tuple[str, int] | None:
    """Return the state letter and start time of a process, or None when there is none."""
    try:
        line = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return None
    # The command name (field 2) may itself contain spaces and parentheses.
    fields = line.rpartition(")")[2].split()
    return fields[0], int(fields[19])


def _reap(pid: int) -> None:
    """Collect the exit status if the process is a child of ours (it may not be)."""
    with contextlib.suppress(ChildProcessError):
        os.waitpid(pid, os.WNOHANG)


def is_running(process: Process) -> bool:
    """Tell whether exactly this process still runs; a zombie does not."""
    _reap(process.pid)
    stat = _stat(process.pid)
    if stat is None or process.boot_id != _boot_id():
        return False
    state, start_time = stat
    return start_time == process.start_time and state not in "ZX"


def spawn(
    name: str,
    argv: Sequence[str],
    *,
    directory: Path,
    environment: Mapping[str, str] | None = None,
) -> Process:
    """Start a process in a session of its own and record it under `directory`.

    Parameters
    ----------
    name
        Names the record `processes/NAME.json` and the log `log/NAME.log`.
    environment
        Added to this process's environment.

    Raises
    ------
    ClusterError
        If the program is missing or ended before it could be recorded.
    """
    log = directory / "log" / f"{name}.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND
    # posix_spawn instead of Popen: nobody waits for these, and a Popen that is garbage collected
    # while its process runs is reported as a leak.
    try:
        pid = os.posix_spawn(
            argv[0],
            list(argv),
            _without_proxies() | dict(environment or {}),
            file_actions=[
                (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
                (os.POSIX_SPAWN_OPEN, 1, str(log), flags, 0o600),
                (os.POSIX_SPAWN_DUP2, 1, 2),
            ],
            setsid=True,
        )
    except OSError as error:
        raise ClusterError(f"cannot start {name}: {argv[0]}: {error.strerror}") from error
    stat = _stat(pid)
    if stat is None:
        raise ClusterError(f"{name} ended at once{_log_tail(log)}")
    process = Process(name=name, pid=pid, start_time=stat[1], boot_id=_boot_id(), log=str(log))
    record = _record(directory, name)
    record.parent.mkdir(exist_ok=True)
    record.write_text(json.dumps(asdict(process)))
    return process


def _without_proxies() -> dict[str, str]:
    """Return this process's environment but for proxies, which lead out of the machine."""
    return {key: value for key, value in os.environ.items() if not key.lower().endswith("_proxy")}


def recorded(directory: Path) -> list[Process]:
    """Return every process recorded under a directory, running or not."""
    return [
        Process(**json.loads(path.read_text()))
        for path in sorted((directory / "processes").glob("*.json"))
    ]


def find(directory: Path, name: str) -> Process | None:
    """Return one recorded process, or None if it was never started or has been stopped."""
    path = _record(directory, name)
    return Process(**json.loads(path.read_text())) if path.exists() else None


def kill(directory: Path, process: Process, *, timeout: float = 20) -> None:
    """Kill a recorded process, wait until it is gone, and drop its record.

    SIGKILL, because what these clusters hold is thrown away with them, and an API server with open
    watches would take a minute to leave otherwise.

    Raises
    ------
    ClusterError
        If the process is still there after `timeout` seconds.
    """
    if is_running(process):
        with contextlib.suppress(ProcessLookupError):
            os.kill(process.pid, signal.SIGKILL)
        wait_until(lambda: not is_running(process), timeout, f"{process.name} to end")
    _record(directory, process.name).unlink(missing_ok=True)


def wait_until(
    condition: Callable[[], bool],
    timeout: float,
    what: str,
    *,
    watch: Sequence[Process] = (),
    interval: float = 0.05,
) -> None:
    """Poll until a condition holds.

    Parameters
    ----------
    timeout
        Seconds.
    what
        Completes the sentence "waited N s for ...".
    watch
        Processes the condition depends on: when one ends, waiting on is pointless.

    Raises
    ------
    ClusterError
        With the end of the log of the process to blame.
    """
    deadline = time.monotonic() + timeout
    while not condition():
        for process in watch:
            if not is_running(process):
                raise ClusterError(f"{process.name} ended{_log_tail(Path(process.log))}")
        if time.monotonic() > deadline:
            tails = "".join(_log_tail(Path(process.log)) for process in watch)
            raise ClusterError(f"waited {timeout:.0f} s in vain for {what}{tails}")
        time.sleep(interval)


def _record(directory: Path, name: str) -> Path:
    return directory / "processes" / f"{name}.json"


def _log_tail(log: Path) -> str:
    if not log.exists():
        return ""
    lines = log.read_text(errors="replace").splitlines()[-_LOG_TAIL_LINES:]
    return f"; the end of {log}:\n" + "\n".join(f"    {line}" for line in lines)
