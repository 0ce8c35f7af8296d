"""A real, certified OpenID provider on this machine: npm's ``oidc-provider``, run by Node.js."""

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from hack.node_packages import NodePackagesError, installed

SOURCE: Final = Path(__file__).parent

Document = Mapping[str, Any]


def command() -> list[str]:
    """Return the command that runs a provider; a configuration's file may follow.

    Without one it takes its configuration from standard input, and ends with that.

    Raises
    ------
    NodePackagesError
        If Node.js is missing, or npm cannot install the provider.
    """
    node = shutil.which("node")
    if node is None:
        raise NodePackagesError("Node.js with npm is needed")
    return [node, str(SOURCE / "provider.mjs"), str(installed(SOURCE))]


def configuration(
    *,
    clients: Sequence[Document],
    accounts: Mapping[str, Document],
    keys: Sequence[Document] = (),
    host: str = "127.0.0.1",
    port: int = 0,
    short_id_tokens: bool = True,
    ready_file: Path | None = None,
) -> dict[str, Any]:
    """Return what a provider reads, as JSON.

    Parameters
    ----------
    clients
        As RFC 7591 describes them.
    accounts
        Claims by subject; any password is right.
    keys
        Private keys as JWKs; the first of an algorithm signs. None: it makes one.
    port
        0: any that is free.
    short_id_tokens
        Whether claims that scopes ask for are left out of ID tokens, as the standard has it.
    ready_file
        Gets the issuer as soon as it serves.
    """
    return {
        "host": host,
        "port": port,
        "clients": list(clients),
        "accounts": dict(accounts),
        "keys": list(keys),
        "shortIdTokens": short_id_tokens,
        "readyFile": None if ready_file is None else str(ready_file),
    }
