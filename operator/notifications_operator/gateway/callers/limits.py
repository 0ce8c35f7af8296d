"""How often callers may send, and how often anybody may fail to say who they are."""

from __future__ import annotations

import ipaddress
import logging
from collections.abc import Iterator
from contextlib import contextmanager

from starlette.requests import HTTPConnection

from ...telemetry import gateway as metrics
from ..errors import AuthenticationError, TooManyRequestsError
from ..principals import ServicePrincipal
from .buckets import TokenBuckets

logger = logging.getLogger(__name__)

BURST_SECONDS = 10
"""Seconds' worth of a caller's rate that may come at once."""

_IPV6_SITE = 64
"""Bits of an IPv6 address that one client does not choose itself (RFC 6177)."""


class CallerRates:
    """Holds every caller to its rate, in this process."""

    def __init__(self) -> None:
        self._buckets = TokenBuckets()

    def check(self, caller: ServicePrincipal) -> None:
        """Count one request.

        Raises
        ------
        TooManyRequestsError
            If it is one too many.
        """
        if caller.rate is None:
            return
        capacity = max(caller.rate * BURST_SECONDS / 60, 1.0)
        wait = self._buckets.take(caller.subject, per_minute=caller.rate, capacity=capacity)
        if wait:
            raise TooManyRequestsError(
                f"{caller.subject} may send {caller.rate} requests a minute", retry_after=wait
            )


class FailureLimit:
    """Holds an address to a number of failures to authenticate.

    Whoever is over it is answered 429 to what would be 401, at little cost and with no line in the
    log. What is valid is still answered: behind an Ingress everybody has one address, and a limit
    that shut all of them out would be the attack. It is not this limit that keeps tokens from being
    guessed but their length.

    That does not hold of an `attempt`, where to see what is valid is itself what must be bounded.
    """

    def __init__(self, *, per_minute: int) -> None:
        self._per_minute = per_minute
        self._buckets = TokenBuckets()

    def record(self, connection: HTTPConnection) -> None:
        """Count one failure.

        Raises
        ------
        TooManyRequestsError
            If it is one too many.
        """
        metrics.AUTHENTICATION_FAILURES.inc()
        address = client_site(connection)
        self._take(address)
        logger.info("credentials were not valid", extra={"client": address})

    @contextmanager
    def attempt(self, connection: HTTPConnection) -> Iterator[None]:
        """Count an attempt while it is made, and afterwards if it ends in `AuthenticationError`.

        Raises
        ------
        TooManyRequestsError
            Before it is made, if it is one too many.
        """
        address = client_site(connection)
        self._take(address)
        failed = False
        try:
            yield
        except AuthenticationError:
            failed = True
            metrics.AUTHENTICATION_FAILURES.inc()
            logger.info("credentials were not valid", extra={"client": address})
            raise
        finally:
            if not failed:
                self._buckets.give_back(address)

    def _take(self, address: str) -> None:
        wait = self._buckets.take(
            address, per_minute=self._per_minute, capacity=float(self._per_minute)
        )
        if wait:
            raise TooManyRequestsError(
                "Too many requests with credentials that are not valid", retry_after=wait
            )


def client_site(connection: HTTPConnection) -> str:
    """Return the address that a connection comes from, of IPv6 the part that names a site."""
    host = connection.client.host if connection.client else ""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return host
    if isinstance(address, ipaddress.IPv4Address):
        return host
    if address.ipv4_mapped is not None:
        return str(address.ipv4_mapped)
    return str(ipaddress.ip_network((address.packed, _IPV6_SITE), strict=False))
