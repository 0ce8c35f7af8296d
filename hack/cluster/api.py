"""The few questions the tool itself asks an API server."""

import http.client
import json
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

    def get(self, path: str) -> tuple[int, bytes] | None:
        """Return the HTTP status and body of a GET, or None while nobody answers."""
        context = ssl.create_default_context(cafile=str(self.authority))
        context.load_cert_chain(self.user.certificate, self.user.key)
        connection = http.client.HTTPSConnection("127.0.0.1", self.port, timeout=2, context=context)
        try:
            connection.request("GET", path)
            response = connection.getresponse()
            return response.status, response.read()
        except (OSError, http.client.HTTPException):
            return None
        finally:
            connection.close()

    def found(self, path: str) -> bool:
        """Tell whether a GET succeeds."""
        answer = self.get(path)
        return answer is not None and answer[0] == http.client.OK

    def get_json(self, path: str) -> object:
        """Return the object a GET yields, or None when it does not succeed."""
        answer = self.get(path)
        if answer is None or answer[0] != http.client.OK:
            return None
        decoded: object = json.loads(answer[1])
        return decoded
