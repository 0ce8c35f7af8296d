"""The demo's mail server: real SMTP with STARTTLS and login, which keeps what it accepts."""

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from hack.demo import services
from hack.demo.place import Place
from hack.image.layout import REPOSITORY

USERNAME: Final = "my-username"
PASSWORD: Final = "my-password"
"""Those of `examples/values.yaml`."""

_NAME: Final = "mail-catcher"


@dataclass(frozen=True, kw_only=True)
class MailCatcher:
    """A running mail catcher, which listens at `host:port`."""

    host: str
    port: int
    authority: Path


def ensure(place: Place, host: str) -> MailCatcher:
    """Start the mail catcher, or find it running.

    Parameters
    ----------
    host
        The address at which the cluster's pods reach this machine.

    Raises
    ------
    hack.cluster.errors.ClusterError
        If it does not start.
    """
    if services.runs(place.directory, _NAME) and place.address.exists():
        catcher = _read(place)
        if catcher.host == host:
            return catcher
    services.stop(place.directory, _NAME)
    place.address.unlink(missing_ok=True)
    argv = [sys.executable, "-m", "tests.support.smtp", f"--host={host}"]
    argv += [f"--username={USERNAME}", f"--password={PASSWORD}", f"--ledger={place.mails}"]
    argv += [f"--certificate-directory={place.directory}", f"--ready-file={place.address}"]
    services.start(place.directory, _NAME, argv, {"PYTHONPATH": str(REPOSITORY)})
    services.wait_for_file(place.directory, _NAME, place.address)
    return _read(place)


def stop(place: Place) -> None:
    """Stop the mail catcher, if it runs."""
    services.stop(place.directory, _NAME)


def _read(place: Place) -> MailCatcher:
    host, _, port = place.address.read_text().strip().rpartition(":")
    return MailCatcher(host=host, port=int(port), authority=place.authority)
