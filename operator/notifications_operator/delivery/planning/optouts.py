"""Who has opted out of what: leaves them out of a processor's targets; no I/O."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from ...api.reasons import Reason
from ...processors.base import Audience, OutboundNotification, Target
from ...processors.errors import Skip
from ...processors.preferences import (
    Preferences,
    PreferenceSource,
    PreferencesUnavailable,
    Question,
)
from ..dispatch.channel import Channel
from ..ledger.rows import is_user

PREFERENCES_UNAVAILABLE = "PreferencesUnavailable"
"""Reason of a Notification that waits for the users' settings."""


@dataclass(frozen=True, kw_only=True)
class Unavailable:
    """Nobody can say now what users want."""

    message: str


Answer = Preferences | Unavailable


class PreferencesNeeded(Exception):
    """A Notification cannot be planned before a question is answered."""

    def __init__(self, question: Question) -> None:
        super().__init__(f"users' settings for {question.origin} are needed")
        self.question = question


async def ask(source: PreferenceSource, question: Question) -> Answer:
    """Ask, and take a missing answer for an answer."""
    try:
        return await source.ask(question)
    except PreferencesUnavailable as error:
        return Unavailable(message=f"users' settings are not known: {error}")


def willing_targets(
    channel: Channel,
    notification: OutboundNotification,
    audience: Audience,
    preferences: Preferences | None,
) -> Sequence[Target] | None:
    """Return whom a processor would reach, those skipped who do not want it by its channel.

    The processor is asked again without them, because it may have left out others for their sake:
    of two users with one address the first gets the mail. What stands for no user, such as an
    address of a list, has no settings.

    Returns
    -------
    sequence of Target, or None
        ``None`` while the processor cannot say.
    """
    found = channel.targets(notification, audience)
    if found is None or preferences is None or not channel.id:
        return found
    out = {
        target.recipient
        for target in found
        if is_user(target.recipient) and not preferences.wants(target.recipient, channel.id)
    }
    if not out:
        return found
    willing = replace(
        audience,
        users=[user for user in audience.users if str(user.ref) not in out],
        strangers=[ref for ref in audience.strangers if str(ref) not in out],
        members_without_entity=[
            ref for ref in audience.members_without_entity if str(ref) not in out
        ],
    )
    again = channel.targets(notification, willing)
    if again is None:
        return None
    kept = {target.recipient: target for target in again}
    skip = Skip(
        reason=Reason.OPTED_OUT, message=f"the user does not want this by the channel {channel.id}"
    )
    return [
        Target(recipient=target.recipient, skip=skip)
        if target.recipient in out
        else kept.get(target.recipient, target)
        for target in found
    ]
