"""The command line."""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections.abc import Callable, Coroutine, Sequence
from importlib.metadata import version
from typing import Any

from pydantic import ValidationError

from .api.messages import describe_validation_error
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
    ).set_defaults(prepare=_operator)
    commands.add_parser(
        "gateway",
        help="run the gateway",
        description="Run the gateway: Backstage's REST API. Settings are read from the "
        "environment: NOTIFICATIONS_GATEWAY_NAMESPACE and the others of gateway/settings.py. "
        "$KUBECONFIG is used if set, else the pod's service account.",
    ).set_defaults(prepare=_gateway)
    prepare: Callable[[], Coroutine[Any, Any, None]] = parser.parse_args(arguments).prepare
    try:
        process = prepare()
    except ValidationError as error:
        print(f"invalid settings: {describe_validation_error(error)}", file=sys.stderr)
        return 2
    asyncio.run(process)
    return 0


# Each imports its parts when it is wanted: the operator need not hold a web framework in memory.


def _operator() -> Coroutine[Any, Any, None]:
    from .application import run
    from .settings import Settings

    settings = Settings()
    configure_logging(settings.log_level)
    return run(settings)


def _gateway() -> Coroutine[Any, Any, None]:
    from .gateway.application import run
    from .gateway.settings import GatewaySettings

    settings = GatewaySettings()
    configure_logging(settings.log_level)
    return run(settings)


if __name__ == "__main__":
    sys.exit(main())
