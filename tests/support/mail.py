"""The mail catcher as a process: what it accepted is what was sent."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .smtp import read_ledger

_ROOT = Path(__file__).resolve().parents[2]


@dataclass(kw_only=True)
class Catcher:
    """A running mail catcher."""

    process: subprocess.Popen[bytes]
    directory: Path
    port: int

    @classmethod
    def start(
        cls, directory: Path, *, username: str, password: str, host: str = "127.0.0.1"
    ) -> Catcher:
        """Start it and wait until it accepts mail."""
        ready = directory / "ready"
        process = subprocess.Popen(
            [
                *(sys.executable, "-m", "tests.support.smtp", "--host", host),
                *("--username", username, "--password", password),
                *("--ledger", str(directory / "ledger.jsonl")),
                *("--certificate-directory", str(directory)),
                *("--ready-file", str(ready)),
            ],
            cwd=_ROOT,
            stdin=subprocess.DEVNULL,
        )
        end = time.monotonic() + 30
        while not ready.exists():
            if process.poll() is not None or time.monotonic() > end:
                raise AssertionError("the mail catcher did not start")
            time.sleep(0.05)
        return cls(
            process=process,
            directory=directory,
            port=int(ready.read_text().rsplit(":", 1)[1]),
        )

    def stop(self) -> None:
        """End the process."""
        self.process.terminate()
        self.process.wait(10)

    @property
    def authority(self) -> Path:
        """The certificate authority that clients must trust."""
        return self.directory / "ca.crt"

    def mails(self, subject: str) -> list[dict[str, Any]]:
        """Return the accepted mails whose subject contains a text."""
        ledger = self.directory / "ledger.jsonl"
        entries = read_ledger(ledger) if ledger.exists() else []
        return [entry for entry in entries if subject in entry["subject"]]

    def recipients(self, subject: str) -> list[str]:
        """Return to whom such mails went, sorted; each mail counts."""
        return sorted(address for mail in self.mails(subject) for address in mail["rcptTo"])

    async def wait(self, subject: str, count: int, *, seconds: float = 30) -> list[dict[str, Any]]:
        """Wait for a number of mails."""
        end = time.monotonic() + seconds
        while len(found := self.mails(subject)) < count:
            if time.monotonic() > end:
                raise AssertionError(f"{len(found)} of {count} mails {subject!r} after {seconds} s")
            await asyncio.sleep(0.05)
        return found
