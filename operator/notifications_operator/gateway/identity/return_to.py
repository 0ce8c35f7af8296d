"""Where a browser goes after the login: to a path of the gateway, and nowhere else."""

from __future__ import annotations

from typing import Final

from ..errors import InputError

MAX_RETURN_TO_LENGTH: Final = 1024
"""Most characters; the path travels in a cookie."""


def check_return_to(path: str) -> str:
    """Return a path of this host, with its query and fragment.

    Refused is whatever a browser might take for another host: ``https://...``, ``//host``,
    ``/\\host`` (browsers read a backslash as a slash), and control characters, which they drop
    (WHATWG URL section 4.4).

    Raises
    ------
    InputError
        If it is none.
    """
    before_query = path.partition("?")[0].partition("#")[0]
    if (
        not path.startswith("/")
        or "//" in before_query
        or "\\" in path
        or len(path) > MAX_RETURN_TO_LENGTH
        or not all("!" <= character <= "~" for character in path)
    ):
        raise InputError("return_to must be a path of this host, such as /notifications?view=saved")
    return path
