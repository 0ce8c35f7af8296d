"""The laws of the gateway, beside those of all campaigns, and whether they were kept."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Set
from uuid import UUID

from .evidence import BROADCAST, GatewayEvidence, Mark, Post, Shown, Stored

_SHOWN = 5
"""How many ids an accusation names."""


def judge(evidence: GatewayEvidence) -> list[str]:
    """Return each law that was broken, with what broke it; empty if all were kept."""
    return [
        *(f"the gateway ended: {crash}" for crash in evidence.crashes),
        *(f"left over by the gateway: {leak}" for leak in evidence.leaks),
        *_every_yes_is_stored(evidence),
        *_all_is_delivered(evidence),
        *_inboxes(evidence),
        *_answers_name_rows(evidence),
        *_nothing_is_written_twice(evidence),
        *_marks_stay(evidence),
        *_people_see_their_inbox(evidence),
        *_pages_know(evidence),
    ]


def _every_yes_is_stored(evidence: GatewayEvidence) -> Iterator[str]:
    stored: defaultdict[str, list[Stored]] = defaultdict(list)
    for item in evidence.stored:
        stored[item.title].append(item)
    for post in evidence.posts:
        found = stored.pop(post.title, [])
        if len(found) > 1:
            yield f"{post.title} was asked {post.asked} times and is there {len(found)} times"
        if post.answered and not found:
            yield f"{post.title} was answered with 200 and is not there"
        if post.key is not None and not post.answered:
            yield f"{post.title} was asked {post.asked} times and never answered"
        for item in found:
            if item.origin != post.subject:
                yield f"{post.title} is of {item.origin}, not of {post.subject}"
        if not post.resources <= {item.resource for item in found}:
            yield f"{post.title} was said to be {sorted(post.resources)}"
    for title in stored:
        yield f"{title} is there and was not posted"


def _all_is_delivered(evidence: GatewayEvidence) -> Iterator[str]:
    for item in evidence.stored:
        if item.state != "Delivered":
            yield f"{item.title} is {item.state}"


def _inboxes(evidence: GatewayEvidence) -> Iterator[str]:
    """Every addressee has what is stored, once; of a scope the newest alone."""
    found = Counter((row.user, row.title, row.origin) for row in evidence.rows)
    expected = {
        (user, post.title, post.subject) for post in _newest(evidence) for user in post.users
    }
    for user, title, _ in expected - found.keys():
        yield f"{title} is not in the inbox of {user}"
    for user, title, _ in found.keys() - expected:
        yield f"{title} is in the inbox of {user}, and should not be"
    for (user, title, _), times in found.items():
        if times > 1:
            yield f"{title} is {times} times in the inbox of {user}"


def _newest(evidence: GatewayEvidence) -> Iterator[Post]:
    """Yield the posts that are stored and that no later one of their scope replaces."""
    titles = {item.title for item in evidence.stored}
    newest: dict[tuple[str, str], Post] = {}
    for post in evidence.posts:
        if post.title not in titles:
            continue
        if post.scope is None:
            yield post
        else:
            newest[post.subject, post.scope] = post
    yield from newest.values()


def _answers_name_rows(evidence: GatewayEvidence) -> Iterator[str]:
    users = {row.id: row.user for row in evidence.rows}
    for post in evidence.posts:
        for id_, user in post.rows.items():
            if users.get(id_) != user:
                yield f"{post.title} was answered with {id_} of {user}; it is {users.get(id_)}'s"


def _nothing_is_written_twice(evidence: GatewayEvidence) -> Iterator[str]:
    times = Counter((item.id, item.identity) for item in evidence.writings)
    for item in evidence.writings:
        count = times.pop((item.id, item.identity), 1)
        if count > 1:
            yield f"{item.title} was written {count} times for {item.user}"


def _marks_stay(evidence: GatewayEvidence) -> Iterator[str]:
    """What was answered with 200 stays, unless a later request without an answer changed it.

    A scope's update makes its row unread, so that only saved ones tell there.
    """
    scoped = {row.id for row in evidence.rows if row.scope is not None}
    by_row: defaultdict[tuple[str, UUID, str], list[Mark]] = defaultdict(list)
    for mark in evidence.marks:
        if mark.mark == "saved" or mark.id not in scoped:
            by_row[mark.user, mark.id, mark.mark].append(mark)
    for (user, id_, name), marks in by_row.items():
        answered = [mark.value for mark in marks if mark.answered]
        shown = evidence.views.get(user, {}).get(id_)
        if not answered or shown is None:
            continue
        possible = {answered[-1]} | {mark.value for mark in marks if not mark.answered}
        if (value := getattr(shown, name)) not in possible:
            yield f"{user} was told that {id_} has {name} {answered[-1]}, and it is {value}"


def _people_see_their_inbox(evidence: GatewayEvidence) -> Iterator[str]:
    for user, view in evidence.views.items():
        theirs = {row.id for row in evidence.rows if row.user in (user, BROADCAST)}
        yield from _compare(f"{user} is shown by REST", view.keys(), theirs)


def _pages_know(evidence: GatewayEvidence) -> Iterator[str]:
    """Whoever looks once and hears the signals since knows what REST says."""
    for user, known in evidence.pages.items():
        view: dict[UUID, Shown] = dict(evidence.views[user])
        yield from _compare(f"the page of {user} knows", known.keys(), view.keys())
        for id_, read in known.items():
            if id_ in view and view[id_].read != read:
                yield f"the page of {user} knows {id_} with read {read}; it is {view[id_].read}"


def _compare(what: str, found: Set[UUID], expected: Set[UUID]) -> Iterator[str]:
    for problem, ids in (("lacks", expected - found), ("has too much", found - expected)):
        if ids:
            some = ", ".join(map(str, sorted(ids)[:_SHOWN]))
            yield f"{what} {len(found)}, and {problem} {len(ids)}: {some}"
