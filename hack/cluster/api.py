"""The few questions the tool itself asks an API server."""

import http.client
import ssl
from dataclasses import dataclass
from pathlib import Path

from hack.cluster.pki import KeyPair


@dataclass(frozen=True)
class ApiClient:
    """Asks one API server on the loopback interface, as an administrator."""

    port: int
    authority: Path
    user: KeyPair

    def status(self, path: str) -> int | None:
        """Return the HTTP status of a GET, or None while nobody answers."""
        context = ssl.create_default_context(cafile=str(self.authority))
        context.load_cert_chain(self.user.certificate, self.user.key)
        connection = http.client.HTTPSConnection("127.0.0.1", self.port, timeout=2, context=context)
        try:
            connection.request("GET", path)
            return connection.getresponse().status
        except (OSError, http.client.HTTPException):
            return None
        finally:
            connection.close()

    def found(self, path: str) -> bool:
        """Tell whether a GET succeeds."""
        return self.status(path) == http.client.OK
