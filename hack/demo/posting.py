"""Posts as to Backstage, and reads the inbox as a person's browser does."""

import json
from typing import Any, Final

import httpx

from hack.demo.access import Access
from hack.demo.commands import Commands
from hack.demo.errors import DemoError
from hack.openid.login import LoginError, log_in

BODY: Final = (
    '{"recipients":{"type":"broadcast"},"payload":{"title":"Title of broadcast message",'
    '"link":"http://foo.com/bar","severity":"high","topic":"The topic"}}'
)
"""What an external service sends to Backstage, and here."""

Stored = dict[str, Any]


def post(commands: Commands, access: Access) -> Stored:
    """Post by curl; return the notification as it was answered.

    Raises
    ------
    DemoError
        If it was not accepted, with the answer.
    """
    output = commands.run(
        *("curl", "-X", "POST", f"{access.url}/api/notifications"),
        *("-H", "Content-Type: application/json"),
        *("-H", f"Authorization: Bearer {access.token}"),
        *("-d", BODY),
    )
    answer = _parsed(output)
    if not isinstance(answer, list) or len(answer) != 1:
        raise DemoError(f"the gateway did not accept what was posted: {output}")
    stored: Stored = answer[0]
    return stored


async def read_inbox(access: Access, user: str) -> list[Stored]:
    """Log a user in and return what the page would show, the newest first.

    Raises
    ------
    DemoError
        If the login fails, or the inbox is not given.
    """
    async with httpx.AsyncClient(base_url=access.url, trust_env=False, timeout=30) as browser:
        begun = await browser.get("/auth/login")
        callback = f"{access.url}/auth/callback"
        try:
            target = await log_in(begun.headers["location"], user, until=callback)
        except (LoginError, KeyError, httpx.HTTPError) as error:
            raise DemoError(f"{user} cannot log in: {error!r}") from error
        session = await browser.get(target, headers=_cookies(begun))
        answer = await browser.get("/api/notifications", headers=_cookies(session))
        if answer.status_code != httpx.codes.OK:
            raise DemoError(f"the inbox of {user}: {answer.status_code}: {answer.text}")
        found: list[Stored] = answer.json()["notifications"]
        return found


def entry(stored: Stored) -> str:
    """Return the text of a notification as it is in the inbox."""
    payload = stored["payload"]
    read = "read" if stored.get("read") else "unread"
    about = (payload["severity"], payload.get("topic"), f"from {stored['origin']}", read)
    lines = [f"● {payload['title']}", f"  {' · '.join(filter(None, about))}"]
    if link := payload.get("link"):
        lines.append(f"  {link}")
    return "\n".join(lines)


def _parsed(output: str) -> Any:
    try:
        return json.loads(output)
    except ValueError:
        return None


def _cookies(response: httpx.Response) -> dict[str, str]:
    """Return the cookies that were set, as they are sent back.

    They are for TLS only, which httpx takes at its word; browsers trust this machine without.
    """
    return {"Cookie": "; ".join(f"{name}={value}" for name, value in response.cookies.items())}
