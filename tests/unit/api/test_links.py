"""Links that are accepted lead where they say."""

from __future__ import annotations

import re
from urllib.parse import urljoin, urlsplit

from hypothesis import assume, given
from hypothesis import strategies as st

from notifications_operator.api.notification import LINK_PATTERN

BASE = "https://portal.example.com/app/"


def accepted(link: str) -> bool:
    return re.fullmatch(LINK_PATTERN[1:-1], link) is not None


@given(st.from_regex(LINK_PATTERN, fullmatch=True).filter(accepted))
def test_relative_links_stay_on_the_base(link: str) -> None:
    assume(not re.match("https?://", link, re.IGNORECASE))
    resolved = urlsplit(urljoin(BASE, link))
    assert (resolved.scheme, resolved.netloc) == ("https", "portal.example.com")


@given(st.from_regex(LINK_PATTERN, fullmatch=True).filter(accepted))
def test_absolute_links_have_a_host_and_nobody_in_front_of_it(link: str) -> None:
    match = re.match("https?://([^/?#]*)", link, re.IGNORECASE)
    assume(match is not None)
    assert match is not None
    assert match[1]
    assert not match[1].startswith(":")
    assert "@" not in match[1]
    assert "\\" not in link


@given(st.text(alphabet="htps:/\\@ \t\n.aJ#?[]%", max_size=12))
def test_what_browsers_read_as_another_host_is_refused(link: str) -> None:
    # The URL standard drops tabs and line breaks, trims C0 and blanks, and takes \ for /.
    seen = re.sub(r"[\t\n\r]", "", link).strip("".join(map(chr, range(33)))).replace("\\", "/")
    if seen.startswith("//"):
        assert not accepted(link)
