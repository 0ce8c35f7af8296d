"""The command line."""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections.abc import Sequence
from importlib.metadata import version

from pydantic import ValidationError

from .api.messages import describe_validation_error
from .application import run
from .settings import Settings
from .telemetry.logs import configure_logging


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command and return its exit status."""
    parser = argparse.ArgumentParser(
        prog="notifications-operator",
        description="Backstage's notification system for Kubernetes and GitOps.",
    )
    parser.add_argument("--version", action="version", version=version("notifications-operator"))
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser(
        "run",
        help="run the operator",
        description="Run the operator. Settings are read from the environment: "
        "NOTIFICATIONS_NAMESPACE and the others of settings.py. $KUBECONFIG is used if set, "
        "else the pod's service account.",
    )
    parser.parse_args(arguments)
    try:
        settings = Settings()
    except ValidationError as error:
        print(f"invalid settings: {describe_validation_error(error)}", file=sys.stderr)
        return 2
    configure_logging(settings.log_level)
    asyncio.run(run(settings))
    return 0


if __name__ == "__main__":
    sys.exit(main())
