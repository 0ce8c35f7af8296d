"""Where a demo keeps what it leaves running, and the names that it uses in its cluster."""

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from hack.cluster import cache
from hack.image.layout import REPOSITORY

RELEASE: Final = "notifications"
NAMESPACE: Final = "notifications-system"
"""The operator's; `examples/catalog.yaml` names it too."""

TEAM_NAMESPACE: Final = "notifications-demo"
"""Where the example Notifications go."""

GATEWAY: Final = f"{RELEASE}-gateway"
"""The gateway's Deployment, Service and ServiceAccount."""

INBOX_NAMESPACE: Final = f"{RELEASE}-inbox"
"""Where the chart has the gateway put what is posted."""

NAMESPACES: Final = (TEAM_NAMESPACE, INBOX_NAMESPACE, NAMESPACE)

CHART: Final = REPOSITORY / "charts" / "notifications"
EXAMPLES: Final = REPOSITORY / "examples"


@dataclass(frozen=True)
class Place:
    """The directory of one demo, beside those of the clusters; removed by `down`."""

    name: str

    @property
    def directory(self) -> Path:
        """The directory; only its owner may look into it, for it holds a token."""
        return cache.state_root() / "demos" / self.name

    @property
    def values(self) -> Path:
        """Helm values that only this demo has: where its mail catcher is, and the like."""
        return self.directory / "values.yaml"

    @property
    def mails(self) -> Path:
        """What was received, one mail per line of JSON."""
        return self.directory / "mails.jsonl"

    @property
    def address(self) -> Path:
        """Where the mail catcher listens: `host:port`."""
        return self.directory / "mail-catcher.address"

    @property
    def authority(self) -> Path:
        """The certificate that signed the mail catcher's."""
        return self.directory / "ca.crt"

    @property
    def access(self) -> Path:
        """How the gateway is reached, and the token of the one who posts."""
        return self.directory / "access.json"

    @property
    def inbox(self) -> Path:
        """The gateway's database, where it runs as a process of this machine."""
        return self.directory / "inbox.db"

    def prepare(self) -> None:
        """Make the directory."""
        self.directory.mkdir(parents=True, exist_ok=True, mode=0o700)

    def keep_secret(self, name: str, content: str) -> Path:
        """Write a file that is its owner's alone: a token, or a kubeconfig with one."""
        file = self.directory / "secrets" / name
        file.parent.mkdir(exist_ok=True, mode=0o700)
        file.touch(mode=0o600)
        file.write_text(content)
        return file

    def remove(self) -> None:
        """Remove the directory with all that it holds."""
        shutil.rmtree(self.directory, ignore_errors=True)
