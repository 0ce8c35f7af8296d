"""Received mails, made readable; and the values that lead to the mail catcher."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import yaml

from hack.demo import mails, values
from hack.demo.mail_catcher import MailCatcher

CATCHER = MailCatcher(host="10.0.0.1", port=2525, authority=Path("ca.crt"))


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


def test_values_lead_to_the_mail_catcher(tmp_path: Path) -> None:
    values.write(tmp_path / "values.yaml", CATCHER, None)

    written = yaml.safe_load((tmp_path / "values.yaml").read_text())
    transport = written["notifications"]["processors"]["email"]["transportConfig"]
    assert (transport["hostname"], transport["port"]) == ("10.0.0.1", 2525)
    assert transport["tls"] == {"caSecretRef": {"name": "mail-catcher-ca", "key": "ca.crt"}}
    assert written["replicaCount"] == 0


def test_another_image_makes_another_pod(tmp_path: Path) -> None:
    archive = tmp_path / "image.tar"
    annotations = []
    for content in ("one", "one", "two"):
        archive.write_text(content)
        values.write(tmp_path / "values.yaml", CATCHER, archive)
        written = yaml.safe_load((tmp_path / "values.yaml").read_text())
        annotations.append(written["podAnnotations"]["demo/image"])

    assert annotations[0] == annotations[1] != annotations[2]
