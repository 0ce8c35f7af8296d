"""Keeps secrets out of logs, status and Events, by their values.

A secret is hidden in every form in which it may come back: as it is, in base64 (which is how AUTH
and HTTP send it, alone or behind a user name), percent-encoded, and escaped for JSON, HTML or
Python. User names and certificates are no secrets, and are never handed in.

A secret that reads like an ordinary word or a small number cannot be told from text. To hide it
everywhere would make logs unreadable, and would say what it is. `redact`, which every text passes,
therefore leaves such a one alone; a `Redactor` of what the other side says hides it where it stands
as a word of its own.
"""

from __future__ import annotations

import base64
import html
import json
import re
from collections.abc import Iterable, Iterator
from itertools import takewhile
from urllib.parse import quote, quote_plus

REDACTED = "***"
"""Stands for what was hidden."""

_SHORTEST = 4
_LONGEST_WORD = 15
_LONGEST_NUMBER = 7
_LONG = 48
_HEAD = 24
_URL_PASSWORD = re.compile(r"(?<=://)(?P<user>[^\s/@:]*):[^\s/@]+(?=@)")

_ESCAPED_OCTET = re.compile("%[0-9A-F]{2}")
_TO_BASE64URL = str.maketrans("+/", "-_")
_SHORTEST_BASE64_PART = 6

_Span = tuple[int, int]


class Redactor:
    """Knows secrets, and hides them in texts.

    Parameters
    ----------
    secrets
        What must not be seen in any form.
    spare_words
        Whether secrets that cannot be told from ordinary text are left alone. Otherwise they are
        hidden where they stand as words of their own.
    """

    def __init__(self, secrets: Iterable[str] = (), *, spare_words: bool = False) -> None:
        self._spare_words = spare_words
        self._know(secrets)

    def _know(self, secrets: Iterable[str]) -> None:
        """Hide these secrets, and no others any more."""
        forms = {form for secret in secrets for form in _forms(secret) if form.strip()}
        words = {form for form in forms if _is_ordinary(form)}
        self._forms = tuple(sorted(forms - words))
        self._heads = tuple(map(_head, self._forms))
        self._words = () if self._spare_words else tuple(map(_as_word, sorted(words)))

    def redact(self, text: str) -> str:
        """Return a text without the secrets."""
        if not self._occurs_in(text):
            return text
        spans = sorted(self._find(text))
        shown = []
        end = 0
        for start, stop in spans:
            if start >= end:
                shown += [text[end:start], REDACTED]
            end = max(end, stop)
        return "".join([*shown, text[end:]])

    def _occurs_in(self, text: str) -> bool:
        """Whether there is anything to hide; most texts, such as that of each receipt, say no."""
        for head in self._heads:
            if head in text:
                return True
        return bool(self._words) and any(word.search(text) for word in self._words)

    def _find(self, text: str) -> Iterator[_Span]:
        for form, head in zip(self._forms, self._heads, strict=True):
            start = text.find(head)
            while start >= 0:
                yield start, start + _shown(form, text[start : start + len(form)])
                # The next one may overlap with this one.
                start = text.find(head, start + 1)
        for word in self._words:
            yield from (match.span() for match in word.finditer(text))


def _head(form: str) -> str:
    """Return what is looked for: the other side may have cut a long form short."""
    return form[:_HEAD] if len(form) >= _LONG else form


def _shown(form: str, text: str) -> int:
    """Return with how many characters of a form a text begins."""
    pairs = zip(form, text, strict=False)
    return (
        len(text)
        if form == text
        else sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], pairs))
    )


def _is_ordinary(form: str) -> bool:
    """Tell whether a form could be a word or a number that means something else."""
    if len(form) < _SHORTEST:
        return True
    if form.isalpha():
        one_case = form.islower() or form.isupper() or form.istitle()
        return len(form) <= _LONGEST_WORD and one_case
    return form.isdecimal() and len(form) <= _LONGEST_NUMBER


def _as_word(form: str) -> re.Pattern[str]:
    return re.compile(rf"(?<!\w){re.escape(form)}(?!\w)")


def _forms(secret: str) -> Iterator[str]:
    """Yield a secret as it may appear, which may be the same several times."""
    data = secret.encode(errors="surrogatepass")
    yield secret
    yield " ".join(secret.split())
    yield quote(data)
    yield quote(data, safe="")
    yield _ESCAPED_OCTET.sub(lambda octet: octet[0].lower(), quote(data, safe=""))
    yield quote_plus(data)
    yield json.dumps(secret)[1:-1]
    yield json.dumps(secret, ensure_ascii=False)[1:-1]
    yield html.escape(secret)
    yield html.escape(secret, quote=False)
    yield repr(secret)[1:-1]
    yield repr(data)[2:-1]
    yield from _base64_forms(data)


def _base64_forms(data: bytes) -> Iterator[str]:
    """Yield the data in base64, alone and as the part of a longer text that it alone decides.

    Four characters stand for three bytes, so that the data may begin at three places within such a
    group. The first and the last character of the part may depend on what is around it.
    """
    yield from _both_alphabets(base64.b64encode(data).decode().rstrip("="))
    for before in range(3):
        encoded = base64.b64encode(bytes(before) + data).decode().rstrip("=")
        begin = -(-8 * before // 6)
        end = 8 * (before + len(data)) // 6
        for part in (encoded[begin:], encoded[begin:end]):
            if len(part) >= _SHORTEST_BASE64_PART:
                yield from _both_alphabets(part)


def _both_alphabets(encoded: str) -> Iterator[str]:
    """Yield base64 and its form for URLs (RFC 4648 sections 4 and 5)."""
    yield encoded
    yield encoded.translate(_TO_BASE64URL)


class _Registry:
    """The secrets of this process, by who holds them."""

    def __init__(self) -> None:
        self._secrets: dict[str, frozenset[str]] = {}
        self._redactor = Redactor()

    def remember(self, owner: str, secrets: Iterable[str]) -> None:
        self._secrets[owner] = frozenset(secrets)
        self._redactor = Redactor(frozenset().union(*self._secrets.values()), spare_words=True)

    def redact(self, text: str) -> str:
        shown = self._redactor.redact(text)
        # Most texts have no URL, and this check is cheaper than the search.
        return _URL_PASSWORD.sub(rf"\g<user>:{REDACTED}", shown) if "://" in shown else shown


_registry = _Registry()


def remember_secrets(owner: str, values: Iterable[str]) -> None:
    """Name the secrets that ``owner`` holds now; they replace its earlier ones.

    Only what is confidential belongs here: a password or a token, no user name and no certificate.
    """
    _registry.remember(owner, values)


def redact(text: str) -> str:
    """Replace every known secret, and passwords in URLs, by asterisks."""
    return _registry.redact(text)
