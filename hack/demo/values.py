"""The chart values that only a demo has, beside `examples/values.yaml`."""

import hashlib
from pathlib import Path
from typing import Any, Final

import yaml

from hack.demo.access import SUBJECT, Access
from hack.demo.identity_provider import CLIENT
from hack.demo.mail_catcher import MailCatcher

AUTHORITY_SECRET: Final = "mail-catcher-ca"
AUTHORITY_KEY: Final = "ca.crt"


def write(
    path: Path,
    catcher: MailCatcher,
    access: Access,
    issuer: str,
    *,
    image: Path | None,
    gateway_address: str | None,
) -> None:
    """Write the values file of a demo.

    Parameters
    ----------
    issuer
        The OpenID provider's.
    image
        The archive of the image that the cluster's node has; None where no pods run.
    gateway_address
        Cluster IP by which the operator shall reach the gateway; None: by its name.
    """
    values: dict[str, Any] = {
        "notifications": {
            "processors": {
                "email": {
                    "transportConfig": {
                        "hostname": catcher.host,
                        "port": catcher.port,
                        "tls": {"caSecretRef": {"name": AUTHORITY_SECRET, "key": AUTHORITY_KEY}},
                    }
                }
            }
        },
        "app": {"baseUrl": "https://backstage.mycompany.com"},
        "gateway": _gateway(access, issuer, gateway_address),
    }
    if image is None:
        values["replicaCount"] = values["gateway"]["replicaCount"] = 0
    else:
        values["image"] = {"tag": "dev", "pullPolicy": "Never"}
        values["tests"] = {"enabled": True, "recipient": "user:default/ada.lovelace"}
        # The tag is always the same, so that something else must tell a new image from the last.
        values["podAnnotations"] = {"demo/image": digest(image)}
    path.touch(mode=0o600)
    path.write_text(yaml.safe_dump(values, sort_keys=False))


def _gateway(access: Access, issuer: str, address: str | None) -> dict[str, Any]:
    caller = {"token": access.token, "subject": SUBJECT, "broadcast": True}
    values: dict[str, Any] = {
        "enabled": True,
        "publicUrl": access.url,
        "tokens": {"externalAccess": [{"type": "static", "options": caller}]},
        "oidc": {
            "issuer": issuer,
            "allowHttp": True,
            "login": {"clientId": CLIENT, "scopes": ["openid", "profile"]},
        },
        # Whoever plays with it loses the inbox with its pod, and needs no volumes.
        "database": {"persistence": {"enabled": False}},
    }
    if address is not None:
        values["internalService"] = {"clusterIP": address}
    return values


def digest(archive: Path) -> str:
    """Return a digest of an image archive."""
    with archive.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()
