"""Received mails, made readable."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from hack.demo import mails


def entry(recipient: str, **changes: Any) -> dict[str, Any]:
    """Return a line of the mail catcher's ledger."""
    return {
        "rcptTo": [recipient],
        "from": "sender@mycompany.com",
        "replyTo": "no-reply@mycompany.com",
        "subject": "Title",
        "text": "Title\n\nFirst\nSecond\n",
        "tls": True,
        "user": "my-username",
        "headers": [["X-Notification", "team/one"], ["X-Notification-Severity", "high"]],
        **changes,
    }


def write(path: Path, *entries: dict[str, Any]) -> Path:
    path.write_text("".join(json.dumps(item) + "\n" for item in entries))
    return path


def test_everybody_of_one_notification_shares_a_letter(tmp_path: Path) -> None:
    ledger = write(
        tmp_path / "mails.jsonl",
        entry("b@mycompany.com"),
        entry("c@mycompany.com", subject="Other", text="Other\n"),
        entry("a@mycompany.com"),
    )

    first, second = mails.letters(mails.read(ledger))

    assert first == (
        "✉ Title\n"
        "  to    a@mycompany.com\n"
        "        b@mycompany.com\n"
        "  from  sender@mycompany.com (answers to no-reply@mycompany.com)\n"
        "\n"
        "  │ Title\n"
        "  │\n"
        "  │ First\n"
        "  │ Second"
    )
    assert second.startswith("✉ Other\n  to    c@mycompany.com\n")


def test_mails_of_earlier_runs_are_left_out(tmp_path: Path) -> None:
    ledger = write(tmp_path / "mails.jsonl", entry("a@mycompany.com"), entry("b@mycompany.com"))

    assert [mail.recipient for mail in mails.read(ledger, after=1)] == ["b@mycompany.com"]


def test_no_ledger_is_no_mail(tmp_path: Path) -> None:
    assert mails.read(tmp_path / "missing.jsonl") == []
