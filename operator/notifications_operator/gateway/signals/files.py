"""Room for many sockets: each is an open file."""

from __future__ import annotations

import logging
import resource

logger = logging.getLogger(__name__)

SPARE_FILES = 500
"""Open files that other things need: databases, issuers, requests under way."""


def allow_sockets(count: int) -> None:
    """Raise this process's limit of open files as far as may be.

    Container runtimes leave the soft limit at 1,024 for programs that use ``select``; whoever does
    not is to raise it (systemd.exec(5), ``LimitNOFILE=``).
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = count + SPARE_FILES
    if _covers(soft, wanted):
        return
    limit = wanted if _covers(hard, wanted) else hard
    resource.setrlimit(resource.RLIMIT_NOFILE, (limit, hard))
    if limit < wanted:
        logger.warning(
            "only %s files may be open: there can be fewer sockets than %s", limit, count
        )


def _covers(limit: int, count: int) -> bool:
    return limit == resource.RLIM_INFINITY or limit >= count
