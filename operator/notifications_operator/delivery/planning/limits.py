"""Bounds on recipients by namespace, checked after resolution (DESIGN section 7)."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta

from ...settings import NamespaceLimitSettings
from .openings import Opening

HOUR = timedelta(hours=1)


class RecipientLimits:
    """Checks whom Notifications reach, and remembers the last hour of each namespace.

    What counts is what is opened: a Notification's users once for each revision and redelivery.
    The memory is filled at start from the Notifications that are still there, so that a restart
    is no way round the bound.
    """

    def __init__(self, settings: NamespaceLimitSettings) -> None:
        self._settings = settings
        self._recent: dict[str, dict[str, dict[str, Opening]]] = {}
        self._tidied: datetime | None = None

    def check(self, namespace: str, uid: str, users: int, now: datetime) -> str | None:
        """Return why so many users are too many for a first revision, or ``None``."""
        why = self.check_size(namespace, users)
        return why or self.check_hour(namespace, uid, Opening(users=users, moment=now))

    def check_size(self, namespace: str, users: int) -> str | None:
        """Return why one Notification may not reach so many users, or ``None``."""
        most = self._bound(namespace, "max_recipients")
        if most is None or users <= most:
            return None
        return f"resolves to {users} users; limits.maxRecipients allows {most} in {namespace}"

    def check_hour(self, namespace: str, uid: str, opening: Opening) -> str | None:
        """Return why an opening is too much for this hour, or ``None`` if it is not."""
        hourly = self._bound(namespace, "recipients_per_hour")
        if hourly is None:
            return None
        used = self._used(namespace, opening.moment, besides=(uid, opening.name))
        if used + opening.users <= hourly:
            return None
        return (
            f"resolves to {opening.users} users; limits.recipientsPerHour allows {hourly} in "
            f"{namespace}, of which {used} are used"
        )

    def counts(self, namespace: str) -> bool:
        """Whether it matters how many users a namespace reaches in an hour."""
        return self._bound(namespace, "recipients_per_hour") is not None

    def ever_fits(self, namespace: str, users: int) -> bool:
        """Whether so many users are within what an hour allows, if nobody else is reached."""
        hourly = self._bound(namespace, "recipients_per_hour")
        return hourly is None or users <= hourly

    def note(self, namespace: str, uid: str, users: int, moment: datetime) -> None:
        """Remember that the first revision of a Notification reaches users."""
        self.note_opening(namespace, uid, Opening(users=users, moment=moment))

    def note_opening(self, namespace: str, uid: str, opening: Opening) -> None:
        """Remember an opening; one that is edited counts with the most users that it had."""
        if not self.counts(namespace):
            return
        openings = self._recent.setdefault(namespace, {}).setdefault(uid, {})
        known = openings.get(opening.name)
        if known is None or opening.users > known.users:
            openings[opening.name] = opening
        self._tidy(opening.moment)

    def restore(
        self, namespace: str, uid: str, openings: Iterable[Opening], *, replace: bool
    ) -> None:
        """Remember what a stored status says.

        Parameters
        ----------
        replace
            Whether it is better than what is known, as it is of what another process has done.
        """
        recent = self._recent.get(namespace, {})
        if uid in recent and not replace:
            return
        recent.pop(uid, None)
        for opening in openings:
            self.note_opening(namespace, uid, opening)

    def _tidy(self, moment: datetime) -> None:
        """Forget once an hour what is older, also of namespaces that ask for nothing more.

        A deletion is no cause to forget: it would be a way round the bound.
        """
        if self._tidied is None:
            self._tidied = moment
        if moment - self._tidied < HOUR:
            return
        self._tidied = moment
        for namespace in list(self._recent):
            self._forget(namespace, moment)

    def _forget(self, namespace: str, now: datetime) -> None:
        kept: dict[str, dict[str, Opening]] = {}
        for uid, openings in self._recent.pop(namespace, {}).items():
            recent = {name: item for name, item in openings.items() if item.moment > now - HOUR}
            if recent:
                kept[uid] = recent
        if kept:
            self._recent[namespace] = kept

    def _used(self, namespace: str, now: datetime, *, besides: tuple[str, str]) -> int:
        """Return how many users a namespace reached within the hour, one opening aside."""
        self._forget(namespace, now)
        return sum(
            opening.users
            for uid, openings in self._recent.get(namespace, {}).items()
            for name, opening in openings.items()
            if (uid, name) != besides
        )

    def _bound(self, namespace: str, name: str) -> int | None:
        own = self._settings.namespaces.get(namespace)
        value: int | None = getattr(own, name) if own is not None else None
        return value if value is not None else getattr(self._settings, name)
