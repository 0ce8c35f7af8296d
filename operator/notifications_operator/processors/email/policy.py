"""Which addresses may get mail."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from ...api.email import EmailConfig
from ...api.reasons import Reason
from ...catalog.quoting import quoted
from ..errors import Skip
from .addresses import domain_of, normalized, wire_address
from .domains import normalized_domain


class AddressPolicy:
    """The domain list, the allow list and the deny list, in upstream's order.

    A malformed address is skipped; one on the allow list passes; else one outside the allowed
    domains is skipped; else, without allowed domains, one outside an allow list is skipped. The
    deny list comes last and always wins (``NotificationsEmailProcessor.getRecipientEmails``). A
    list that is empty is a list: it allows nobody. Domains are compared whole, without their
    sub-domains, and as DNS has them: ``bücher.example`` is ``xn--bcher-kva.example``.
    """

    def __init__(self, config: EmailConfig) -> None:
        self._domains = _each(normalized_domain, config.allowed_email_domains)
        self._allowed = _each(normalized, config.allowlist_email_addresses)
        self._denied = _each(normalized, config.denylist_email_addresses) or frozenset()

    def objection(self, address: str) -> Skip | None:
        """Return why an address gets no mail, or ``None`` if it may."""
        try:
            wire_address(address)
        except ValueError as error:
            return Skip(
                reason=Reason.INVALID_ADDRESS,
                message=f"{quoted(address)} is not an e-mail address: {error}",
            )
        if (blocked := self._block(normalized(address))) is not None:
            return Skip(reason=Reason.BLOCKED, message=f"{quoted(address)} is {blocked}")
        return None

    def _block(self, address: str) -> str | None:
        if self._allowed is None or address not in self._allowed:
            if self._domains is not None:
                if domain_of(address) not in self._domains:
                    return "outside allowedEmailDomains"
            elif self._allowed is not None:
                return "not in allowlistEmailAddresses"
        if address in self._denied:
            return "in denylistEmailAddresses"
        return None


def _each(normalize: Callable[[str], str], values: Iterable[str] | None) -> frozenset[str] | None:
    return None if values is None else frozenset(map(normalize, values))
