"""What the operator's image looks like, whichever way it is made.

The Dockerfile says the same in its own language; a unit test compares the two.
"""

from pathlib import Path
from typing import Final

from hack.image.archive import ImageConfig

REPOSITORY: Final = Path(__file__).parents[2]

TAG: Final = "notifications-operator:dev"

PREFIX: Final = "opt/notifications-operator"
"""The virtual environment, without the leading slash."""

USER_ID: Final = 65532
"""Numeric, for `runAsNonRoot`; the number distroless images made customary."""

PASSWD: Final = f"notifications:x:{USER_ID}:{USER_ID}::/nonexistent:/usr/sbin/nologin\n"
GROUP: Final = f"notifications:x:{USER_ID}:\n"


def image_config(architecture: str) -> ImageConfig:
    """Return how containers of the image start."""
    return ImageConfig(
        architecture=architecture,
        entrypoint=["notifications-operator"],
        user=f"{USER_ID}:{USER_ID}",
        working_directory="/",
        environment={
            "PATH": f"/{PREFIX}/bin:/usr/local/bin:/usr/bin:/bin",
            "LANG": "C.UTF-8",
            "PYTHONUNBUFFERED": "1",
            "PYTHONDONTWRITEBYTECODE": "1",
        },
        labels={
            "org.opencontainers.image.title": "notifications-operator",
            "org.opencontainers.image.licenses": "Apache-2.0",
        },
    )
