"""What is posted by curl, what a refusal says, and what the inbox shows."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pytest

from hack.demo import posting
from hack.demo.access import Access
from hack.demo.commands import Commands
from hack.demo.errors import DemoError
from hack.demo.screen import Screen

ACCESS = Access(port=7007, token="demo-token")
STORED: dict[str, Any] = {
    "id": "5f0f9b0e-0000-4000-8000-000000000000",
    "origin": "external:demo",
    "read": None,
    "payload": {
        "title": "Title",
        "severity": "high",
        "topic": "The topic",
        "link": "http://foo.com/bar",
    },
}


def commands(directory: Path, answer: str) -> tuple[Commands, io.StringIO]:
    """Return a shell whose curl keeps its arguments in `arguments` and prints an answer."""
    curl = directory / "curl"
    (directory / "answer").write_text(answer)
    curl.write_text(f'#!/bin/sh\ncd {directory}\nprintf "%s\\n" "$@" >arguments\ncat answer\n')
    curl.chmod(0o755)
    stream = io.StringIO()
    return Commands(screen=Screen(stream), programs={"curl": curl}), stream


def test_posted_as_to_backstage(tmp_path: Path) -> None:
    shell, stream = commands(tmp_path, json.dumps([STORED]))

    assert posting.post(shell, ACCESS) == STORED

    assert (tmp_path / "arguments").read_text().splitlines() == [
        *("-X", "POST", "http://127.0.0.1:7007/api/notifications"),
        *("-H", "Content-Type: application/json"),
        *("-H", "Authorization: Bearer demo-token"),
        *("-d", posting.BODY),
    ]
    assert "$ curl -X POST http://127.0.0.1:7007/api/notifications" in stream.getvalue()
    assert json.loads(posting.BODY)["recipients"] == {"type": "broadcast"}


@pytest.mark.parametrize(
    "answer", ['{"error": {"name": "NotAllowedError"}}', "<html>", "", "[]", "null"]
)
def test_what_was_not_accepted_is_shown(tmp_path: Path, answer: str) -> None:
    shell, _ = commands(tmp_path, answer)

    with pytest.raises(DemoError, match=r"^the gateway did not accept what was posted") as refusal:
        posting.post(shell, ACCESS)
    assert answer in str(refusal.value)


def test_entry_of_the_inbox() -> None:
    assert posting.entry(STORED) == (
        "● Title\n  high · The topic · from external:demo · unread\n  http://foo.com/bar"
    )
    bare = {"origin": "a", "read": "2027-01-15", "payload": {"title": "T", "severity": "low"}}
    assert posting.entry(bare) == "● T\n  low · from a · read"
