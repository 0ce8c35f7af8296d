"""The campaign against the gateway: strikes in turn under a load of posts, and the judgement."""

from __future__ import annotations

from dataclasses import replace
from random import Random

from tests.support.installation import Installation
from tests.support.kubernetes import Object

from ..judge import count_doubles
from ..judge import judge as judge_mails
from ..rounds import order
from ..servers import MailServer
from .evidence import GatewayEvidence
from .figures import GatewayFigures
from .judge import judge
from .scene import INBOX, Scene, scene
from .strikes import STRIKES

SETTLE_SECONDS = 180.0
"""Within so many seconds after the last strike everything must be complete."""

HEARD_SECONDS = 20.0
"""Within so many seconds after that every page must know it."""


async def run(installation: Installation, *, seed: int, rounds: int) -> GatewayFigures:
    """Strike so many times and judge what became of the posts."""
    figures = GatewayFigures(campaign="gateway", seed=seed)
    server = MailServer(processor=f"mail-{seed}", to_everybody=True, concurrency=16)
    async with scene(installation, server, figures) as one:
        async with one.pages():
            async with one.load():
                await one.progress()
                for name in order([*STRIKES], rounds, Random(f"strikes {seed}")):
                    await STRIKES[name](one)
                    figures.instants[name] = figures.instants.get(name, 0) + 1
                    await one.progress()
            await one.settle(seconds=SETTLE_SECONDS)
            await one.pages_know(seconds=HEARD_SECONDS)
            bodies = await one.stage.bodies()
            found = await one.gateway_evidence(bodies)
        for replica in one.replicas:
            await replica.look_for_leaks()
        await one.stage.operator.look_for_leaks()
        await one.stage.operator.stop()
        for replica in one.replicas:
            await replica.stop()
        _conclude(one, found, bodies)
    return figures


def _conclude(one: Scene, found: GatewayEvidence, bodies: list[Object]) -> None:
    evidence = one.evidence(bodies, found)
    figures = one.figures
    figures.broken = [
        *one.stuck,
        *judge(
            replace(
                found,
                leaks=[leak for replica in one.replicas for leak in replica.leaks],
                crashes=[crash for replica in one.replicas for crash in replica.crashes],
            )
        ),
        *judge_mails(evidence),
    ]
    mails = [mail for mail in evidence.mails if mail.key.processor != INBOX]
    figures.posts = len(found.posts)
    figures.accepted = sum(post.answered > 0 for post in found.posts)
    figures.unanswered = figures.posts - figures.accepted
    figures.repetitions = sum(post.asked - 1 for post in found.posts)
    titles = {item.title for item in found.stored}
    figures.found = sum(post.title in titles for post in found.posts if not post.answered)
    figures.notifications = len(found.stored)
    figures.deliveries = len(evidence.rows)
    figures.mails = sum(mail.accepted for mail in mails)
    figures.doubles = count_doubles(mails)
    figures.in_doubt = sum(doubt.key.processor != INBOX for doubt in evidence.doubts)
    figures.ambiguous = sum(not mail.answered for mail in mails)
    figures.inbox_rows = len(found.rows)
    figures.writings = len(found.writings)
    figures.marks = sum(mark.answered for mark in found.marks)
    figures.looks = sum(person.looks for person in one.people)
