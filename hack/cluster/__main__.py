"""The command line: `python -m hack.cluster --help`."""

import argparse
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from hack.cluster import binaries, clusters, packages
from hack.cluster.errors import ClusterError
from hack.cluster.record import Source

_DEFAULT_NAME = "default"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return the exit status."""
    options = _parser().parse_args(arguments)
    try:
        return _run(options)
    except ClusterError as error:
        print(f"hack.cluster: {error}", file=sys.stderr)
        return 1


def _run(options: argparse.Namespace) -> int:
    match options.command:
        case "up":
            _up(options)
        case "down":
            if not clusters.down(options.name):
                print(f"no cluster {options.name}", file=sys.stderr)
        case "kubeconfig":
            print(clusters.find(options.name).kubeconfig)
        case "host-address":
            print(clusters.find(options.name).host_address)
        case "status":
            return _status()
        case "tools":
            print(binaries.ensure(_wanted_packages(options)))
        case "load-image":
            clusters.find(options.name).load_image(options.archive)
    return 0


def _up(options: argparse.Namespace) -> None:
    started = time.monotonic()
    cluster = clusters.up(options.name, node=options.node, source=options.source)
    elapsed = time.monotonic() - started
    print(f"cluster {cluster.name} ({cluster.source}) is up after {elapsed:.1f} s", file=sys.stderr)
    print(f"export KUBECONFIG={cluster.kubeconfig}")


def _status() -> int:
    rows = [("NAME", "SOURCE", "NODE", "STATE", "HOST-ADDRESS", "KUBECONFIG")]
    for cluster, answers in clusters.find_all():
        rows.append(
            (
                cluster.name,
                cluster.source,
                "yes" if cluster.node else "no",
                "up" if answers else "down",
                cluster.host_address if answers else "-",
                str(cluster.kubeconfig),
            )
        )
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        print("  ".join(cells).rstrip())
    return 0


def _wanted_packages(options: argparse.Namespace) -> list[str]:
    wanted = [name for name in packages.TOOLS if getattr(options, name)]
    if options.control_plane or options.with_node:
        wanted += packages.CONTROL_PLANE
    if options.with_node:
        wanted += packages.NODE
    return wanted or list(packages.TOOLS)


def _parser() -> argparse.ArgumentParser:
    named = argparse.ArgumentParser(add_help=False)
    named.add_argument("--name", default=_DEFAULT_NAME, help="cluster (default: %(default)s)")
    parser = argparse.ArgumentParser(
        prog="python -m hack.cluster",
        description="Real Kubernetes clusters for tests, demo and benchmark; see docs/cluster.md.",
    )
    commands = parser.add_subparsers(dest="command", required=True)

    up = commands.add_parser("up", parents=[named], help="start a cluster, or find it running")
    up.add_argument("--node", action="store_true", help="with a node that runs pods (root, Linux)")
    up.add_argument(
        "--source",
        type=Source,
        choices=list(Source),
        help="who runs it (default: the first of KUBECONFIG, kind, this machine)",
    )
    commands.add_parser("down", parents=[named], help="stop a cluster and remove all of it")
    commands.add_parser("kubeconfig", parents=[named], help="print the path of its kubeconfig")
    commands.add_parser(
        "host-address", parents=[named], help="print where its pods reach this machine"
    )
    commands.add_parser("status", help="list clusters")
    tools = commands.add_parser(
        "tools", help="obtain programs of the pinned versions and print their directory"
    )
    tools.add_argument("--kubectl", action="store_true")
    tools.add_argument("--helm", action="store_true")
    tools.add_argument("--control-plane", action="store_true")
    tools.add_argument("--node", action="store_true", dest="with_node")
    load = commands.add_parser("load-image", help="give a cluster's node an image")
    load.add_argument("name", help="cluster")
    load.add_argument("archive", type=Path, help="as docker save writes it")
    return parser


if __name__ == "__main__":
    sys.exit(main())
