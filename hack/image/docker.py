"""The image by `docker build`."""

import os
from pathlib import Path

from hack.image.commands import run
from hack.image.layout import REPOSITORY, TAG


def build(archive: Path) -> None:
    """Build the image and save it to an archive, which appears only when it is complete."""
    run(["docker", "build", "--tag", TAG, REPOSITORY])
    partial = archive.with_name(f".{archive.name}.{os.getpid()}")
    try:
        run(["docker", "save", "--output", partial, TAG])
        partial.replace(archive)
    finally:
        partial.unlink(missing_ok=True)
