"""The judge of the gateway's campaign must be able to condemn: each law, broken once."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest

from tests.chaos.evidence import Expectation
from tests.chaos.gateway.callers import Caller
from tests.chaos.gateway.evidence import (
    BROADCAST,
    GatewayEvidence,
    InboxRow,
    Mark,
    Post,
    Shown,
    Stored,
    Writing,
)
from tests.chaos.gateway.judge import judge
from tests.chaos.judge import judge as judge_mails

from .test_judge import ADA, evidence, mail, row

A, B, C = UUID(int=1), UUID(int=2), UUID(int=3)
SUBJECT = "external:ci"


def post(title: str, *users: str, **changes: Any) -> Post:
    given: dict[str, Any] = {
        "key": title,
        "asked": 1,
        "answered": 1,
        "resources": {f"inbox/{title}"},
    }
    return Post(
        title=title, subject=SUBJECT, body={}, users=frozenset(users), **{**given, **changes}
    )


def stored(title: str, **changes: Any) -> Stored:
    made = Stored(resource=f"inbox/{title}", title=title, origin=SUBJECT, state="Delivered")
    return replace(made, **changes)


def inbox(id_: UUID, user: str, title: str, **changes: Any) -> InboxRow:
    return replace(InboxRow(id=id_, user=user, title=title, origin=SUBJECT, scope=None), **changes)


def mark(id_: UUID, value: bool, *, answered: bool = True, name: str = "read") -> Mark:
    return Mark(user="ada", id=id_, mark=name, value=value, answered=answered)


def good() -> GatewayEvidence:
    return GatewayEvidence(
        posts=[post("n1", "ada", rows={A: "ada"}), post("n2", BROADCAST)],
        stored=[stored("n1"), stored("n2")],
        rows=[inbox(A, "ada", "n1"), inbox(B, BROADCAST, "n2")],
        writings=[
            Writing(
                id=A, user="ada", title="n1", identity="i", moment=datetime(2026, 1, 1, tzinfo=UTC)
            )
        ],
        marks=[mark(A, False), mark(A, True)],
        views={"ada": {A: Shown(read=True, saved=False), B: Shown(read=False, saved=False)}},
        pages={"ada": {A: True, B: False}},
    )


def broken(**changes: Any) -> str:
    return "\n".join(judge(replace(good(), **changes)))


def test_all_is_well() -> None:
    assert judge(good()) == []


@pytest.mark.parametrize(
    ("changes", "law"),
    [
        ({"stored": [stored("n1")]}, "n2 was answered with 200 and is not there"),
        (
            {"stored": [stored("n1"), stored("n1"), stored("n2")]},
            "n1 was asked 1 times and is there 2 times",
        ),
        ({"stored": [stored("n1"), stored("n2"), stored("n3")]}, "n3 is there and was not posted"),
        ({"stored": [stored("n1", origin="x"), stored("n2")]}, "n1 is of x, not of external:ci"),
        ({"stored": [stored("n1", resource="a/b"), stored("n2")]}, "n1 was said to be"),
        ({"stored": [stored("n1", state="Failed"), stored("n2")]}, "n1 is Failed"),
        ({"rows": [inbox(A, "ada", "n1")]}, "n2 is not in the inbox of broadcast"),
        ({"rows": [*good().rows, inbox(C, "bob", "n1")]}, "n1 is in the inbox of bob"),
        ({"rows": [*good().rows, inbox(C, "ada", "n1")]}, "n1 is 2 times in the inbox of ada"),
        (
            {"rows": [inbox(A, "bob", "n1"), inbox(B, BROADCAST, "n2")]},
            f"n1 was answered with {A} of ada; it is bob's",
        ),
        ({"writings": [*good().writings] * 2}, "n1 was written 2 times for ada"),
        ({"marks": [mark(A, False)]}, f"ada was told that {A} has read False, and it is True"),
        (
            {"marks": [mark(A, True, name="saved")]},
            f"ada was told that {A} has saved True, and it is False",
        ),
        ({"views": {"ada": {}}, "pages": {}}, "ada is shown by REST 0, and lacks 2"),
        ({"pages": {"ada": {A: True}}}, "the page of ada knows 1, and lacks 1"),
        ({"pages": {"ada": {A: False, B: False}}}, f"the page of ada knows {A} with read False"),
        ({"leaks": ["3 WebSockets"]}, "left over by the gateway: 3 WebSockets"),
        ({"crashes": ["exit status 1"]}, "the gateway ended: exit status 1"),
    ],
)
def test_a_broken_law(changes: dict[str, Any], law: str) -> None:
    assert law in broken(**changes)


def test_what_was_never_answered() -> None:
    unanswered = post("n1", "ada", answered=0, resources=set(), key=None)
    rest = {"posts": [unanswered, good().posts[1]]}
    assert broken(**rest) == "", "it may be there"
    gone = {
        "stored": [stored("n2")],
        "rows": [inbox(B, BROADCAST, "n2")],
        "views": {},
        "pages": {},
        "marks": [],
    }
    assert broken(**rest, **gone) == "", "it may be absent"
    half = gone | {"stored": good().stored}
    assert "n1 is not in the inbox of ada" in broken(**rest, **half), "but not half of it"
    keyed = replace(unanswered, key="n1")
    assert "n1 was asked 1 times and never answered" in broken(posts=[keyed, good().posts[1]])


def test_of_a_scope_the_newest_stays() -> None:
    posts = [post("n1", "ada", scope="s"), post("n3", "ada", scope="s"), good().posts[1]]
    made = {"posts": posts, "stored": [stored("n1"), stored("n2"), stored("n3")], "writings": []}
    rows = [inbox(A, "ada", "n3", scope="s"), inbox(B, BROADCAST, "n2")]
    assert broken(**made, rows=rows) == ""
    older = [inbox(A, "ada", "n1", scope="s"), inbox(B, BROADCAST, "n2")]
    assert "n3 is not in the inbox of ada" in broken(**made, rows=older)


def test_an_update_makes_unread_and_leaves_saved() -> None:
    rows = [inbox(A, "ada", "n1", scope="s"), inbox(B, BROADCAST, "n2")]
    posts = [post("n1", "ada", scope="s"), good().posts[1]]
    assert broken(posts=posts, rows=rows, marks=[mark(A, False)]) == ""
    saved = [mark(A, True, name="saved")]
    assert "has saved True" in broken(posts=posts, rows=rows, marks=saved)


def test_a_mark_without_an_answer_may_have_been_made() -> None:
    assert broken(marks=[mark(A, False), mark(A, True, answered=False)]) == ""
    assert broken(marks=[mark(A, True, answered=False), mark(A, False)]) == "", "even later"


def test_only_the_inbox_may_skip_what_a_newer_one_replaced() -> None:
    skipped = row(ADA, "Skipped", reason="Superseded")
    made = evidence([skipped], [], expected={ADA: Expectation.NEWEST})
    assert judge_mails(made) == []
    stored_before = replace(made, mails=[mail(ADA)])
    assert judge_mails(stored_before) == [], "its answer was lost, and a newer one came"
    other = evidence([row(ADA, "Skipped", reason="NoAddress")], [], expected=made.expected)
    assert "nothing was to be skipped" in "\n".join(judge_mails(other))


def test_callers_post_the_same_for_the_same_seed() -> None:
    made = [
        [caller._make().body for _ in range(5)]
        for caller in (Caller(1, seed=7, url=""), Caller(1, seed=7, url=""))
    ]
    assert made[0] == made[1]
