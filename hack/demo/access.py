"""How the demo's gateway is reached from this machine, and the token of the one who posts."""

import json
import secrets
from dataclasses import asdict, dataclass
from typing import Final

from hack.cluster import ports
from hack.demo.place import Place

SUBJECT: Final = "external:demo"
"""Whom the token is of: the origin of what is posted with it."""

_PORT: Final = 7007
"""Backstage's and the gateway's own, if nobody else has it."""


@dataclass(frozen=True, kw_only=True)
class Access:
    """The gateway's port on loopback, and a token to post with."""

    port: int
    token: str

    @property
    def url(self) -> str:
        """Where browsers and callers reach the gateway."""
        return f"http://127.0.0.1:{self.port}"


def ensure(place: Place) -> Access:
    """Return what this demo chose before, with another port if somebody else has it now.

    The gateway must not run: its port would not be free.

    Raises
    ------
    hack.cluster.errors.ClusterError
        If no port is free.
    """
    token = f"demo-{secrets.token_hex(16)}"
    if place.access.exists():
        access = Access(**json.loads(place.access.read_text()))
        if ports.is_free(access.port):
            return access
        token = access.token
    port = _PORT if ports.is_free(_PORT) else ports.free_ports(1, ())[0]
    access = Access(port=port, token=token)
    keep(place, access)
    return access


def keep(place: Place, access: Access) -> None:
    """Have the demo's next run choose the same."""
    place.access.touch(mode=0o600)
    place.access.write_text(json.dumps(asdict(access)))
