"""The login at the provider, as a person's browser does it."""

import re
from html import unescape
from typing import Final

import httpx

_FORM_ACTION: Final = re.compile(r'<form[^>]*\baction="([^"]+)"')
_PROMPT: Final = re.compile(r'name="prompt" value="(\w+)"')
_MAX_STEPS: Final = 12


class LoginError(Exception):
    """The provider let nobody in; the message holds what it said."""


async def log_in(url: str, subject: str, *, until: str) -> str:
    """Log in at the provider by its forms; return where it sends the browser in the end.

    Parameters
    ----------
    url
        The authorization request.
    subject
        Who logs in.
    until
        Beginning of the URL that ends it, which is not asked for.

    Raises
    ------
    LoginError
        If it does not come to that.
    """
    async with httpx.AsyncClient(timeout=60, trust_env=False) as browser:
        response = await browser.get(url)
        for _ in range(_MAX_STEPS):
            if response.is_redirect:
                target = str(response.url.join(response.headers["location"]))
                if target.startswith(until):
                    return target
                response = await browser.get(target)
                continue
            form, prompt = _FORM_ACTION.search(response.text), _PROMPT.search(response.text)
            if form is None or prompt is None:
                raise LoginError(f"{response.url}: {response.status_code}: {response.text}")
            fields = {"prompt": prompt[1]}
            if prompt[1] == "login":
                fields |= {"login": subject, "password": "any"}
            action = response.url.join(unescape(form[1]))
            response = await browser.post(action, data=fields)
    raise LoginError(f"no way to {until}, but {response.url}")
