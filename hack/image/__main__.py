"""The command line: `python -m hack.image build`."""

import argparse
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from hack import web
from hack.cluster.errors import ClusterError
from hack.cluster.sources.kind import docker_answers
from hack.image import debian, docker
from hack.image.layout import REPOSITORY, TAG


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m hack.image", description="Makes the operator's image."
    )
    commands = parser.add_subparsers(dest="command", required=True)
    build = commands.add_parser("build", help=f"leave an image archive tagged {TAG}")
    build.add_argument("--output", type=Path, default=REPOSITORY / "dist" / "image.tar")
    options = parser.parse_args(arguments)
    started = time.monotonic()
    archive: Path = options.output
    archive.parent.mkdir(parents=True, exist_ok=True)
    try:
        if docker_answers():
            # The Dockerfile builds the page itself.
            docker.build(archive)
        else:
            web.package()
            debian.build(archive)
    except ClusterError as error:
        print(f"hack.image: {error}", file=sys.stderr)
        return 1
    size = archive.stat().st_size / 1e6
    elapsed = time.monotonic() - started
    print(f"{archive}: {TAG}, {size:.0f} MB, {elapsed:.1f} s", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
