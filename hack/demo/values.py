"""The chart values that only a demo has, beside `examples/values.yaml`."""

import hashlib
from pathlib import Path
from typing import Any, Final

import yaml

from hack.demo.mail_catcher import MailCatcher

AUTHORITY_SECRET: Final = "mail-catcher-ca"
AUTHORITY_KEY: Final = "ca.crt"


def write(path: Path, catcher: MailCatcher, image: Path | None) -> None:
    """Write the values file of a demo.

    Parameters
    ----------
    image
        The archive of the image that the cluster's node has; None where no pods run.
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
    }
    if image is None:
        values["replicaCount"] = 0
    else:
        values["image"] = {"tag": "dev", "pullPolicy": "Never"}
        values["tests"] = {"enabled": True, "recipient": "user:default/ada.lovelace"}
        # The tag is always the same, so that something else must tell a new image from the last.
        values["podAnnotations"] = {"demo/image": digest(image)}
    path.write_text(yaml.safe_dump(values, sort_keys=False))


def digest(archive: Path) -> str:
    """Return a digest of an image archive."""
    with archive.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()
