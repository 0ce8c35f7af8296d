"""The command line: `python -m hack.demo --help`."""

import argparse
import sys
from collections.abc import Sequence

from hack.cluster.errors import ClusterError
from hack.demo import steps
from hack.demo.errors import DemoError
from hack.demo.screen import Screen


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return the exit status."""
    options = _parser().parse_args(arguments)
    screen = Screen()
    try:
        _run(options, screen)
    except (ClusterError, DemoError) as error:
        print(f"\nThe demo stopped here: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


def _run(options: argparse.Namespace, screen: Screen) -> None:
    match options.command:
        case "up":
            steps.play(options.name, pods=options.node, screen=screen)
        case "down":
            steps.stop(options.name, screen)
        case "mails":
            steps.watch_mails(options.name, screen, follow=options.follow)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m hack.demo",
        description="The whole way for real: a cluster, the chart, notifications, mails, inbox.",
    )
    parser.add_argument(
        "command",
        nargs="?",
        choices=("up", "down", "mails"),
        default="up",
        help="up: run it (again); down: remove all of it; mails: show what it received "
        "(default: up)",
    )
    parser.add_argument("--name", default="demo", help="of its cluster (default: %(default)s)")
    parser.add_argument(
        "--node",
        action=argparse.BooleanOptionalAction,
        help="whether operator and gateway must run as pods (default: where pods can run)",
    )
    parser.add_argument("--follow", action="store_true", help="mails: wait for more")
    return parser


if __name__ == "__main__":
    sys.exit(main())
