"""Builds and tests the web page and its elements: `python -m hack.web build`.

Node.js must be there, with npm; Debian 12's own is too old for the tools. What npm installs is kept
in the cache, and `web/node_modules` leads there.
"""

import argparse
import hashlib
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

from hack.cluster import cache, debian
from hack.cluster.errors import ClusterError
from hack.node_packages import NodePackagesError, installed

REPOSITORY = Path(__file__).parent.parent
WEB = REPOSITORY / "web"
DIST = WEB / "dist"
PACKAGED = REPOSITORY / "operator" / "notifications_operator" / "gateway" / "page" / "dist"
"""Where the wheel takes the page from; `gateway/page/settings.py` looks for it there."""

SCREENSHOTS = REPOSITORY / "docs" / "images"

NODE = (20, 19)
"""The oldest that Vite runs on."""

_BROWSER_PACKAGES = ("chromium", "fonts-liberation")
SOURCES = (
    "package.json",
    "package-lock.json",
    "index.html",
    "tsconfig.json",
    "vite.config.ts",
    "public",
    "src",
)
"""What the page is built of."""


def install(web: Path = WEB) -> None:
    """Have `node_modules` lead to what the lock says.

    Raises
    ------
    ClusterError
        If Node.js is missing or too old, npm fails, or npm was run there by hand.
    """
    _check_node()
    modules = web / "node_modules"
    if modules.is_dir() and not modules.is_symlink():
        raise ClusterError(f"{modules} was made by npm itself; remove it: the cache has its like")
    try:
        cached = installed(web) / "node_modules"
    except NodePackagesError as error:
        raise ClusterError(f"the page's build tools: {error}") from error
    with cache.locked(_lock_of(web)):
        if not modules.is_symlink() or modules.readlink() != cached:
            modules.unlink(missing_ok=True)
            modules.symlink_to(cached)


def build(web: Path = WEB) -> Path:
    """Build the page, unless nothing changed since, and return the directory to serve.

    Raises
    ------
    ClusterError
        If it cannot be built.
    """
    install(web)
    stamp = web / ".vite" / "built"
    with cache.locked(_lock_of(web)):
        if not stamp.is_file() or stamp.read_text() != _digest(web, (*SOURCES, "dist")):
            stamp.unlink(missing_ok=True)
            _run(["npm", "run", "--silent", "build"], web, quiet=True)
            stamp.parent.mkdir(exist_ok=True)
            stamp.write_text(_digest(web, (*SOURCES, "dist")))
    return web / "dist"


def package() -> None:
    """Build the page and put it into the Python package, from where the wheel takes it.

    Raises
    ------
    ClusterError
        If it cannot be built.
    """
    built = build()
    shutil.rmtree(PACKAGED, ignore_errors=True)
    shutil.copytree(built, PACKAGED)


def check(*, browser: bool, report: Path | None) -> None:
    """Check types and format, and run the tests: of the logic, and in a browser.

    Raises
    ------
    ClusterError
        If one fails, or there is no browser.
    """
    build()
    _run(["npm", "run", "--silent", "check"], WEB)
    arguments = ["npx", "--no-install", "vitest", "run", "--project", "unit"]
    if browser:
        arguments += ["--project", "browser"]
    if report is not None:
        arguments += ["--reporter=default", "--reporter=junit", f"--outputFile={report.resolve()}"]
    _run(arguments, WEB, environment=browser_environment() if browser else None)


def screenshots(directory: Path) -> None:
    """Take the documentation's pictures anew.

    Raises
    ------
    ClusterError
        If a test fails, or there is no browser.
    """
    build()
    environment = browser_environment() | {"SCREENSHOTS": str(directory.resolve())}
    tests = "test/browser/screenshots.test.ts"
    _run(["npx", "--no-install", "vitest", "run", tests], WEB, environment=environment)


def _check_node() -> None:
    if shutil.which("node") is None or shutil.which("npm") is None:
        raise ClusterError("the page is built with Node.js and npm, and they are not there")
    version = subprocess.run(
        ["node", "--version"], capture_output=True, text=True, check=True
    ).stdout.strip()
    match = re.match(r"v(\d+)\.(\d+)\.", version)
    if match is None or (int(match[1]), int(match[2])) < NODE:
        wanted = ".".join(map(str, NODE))
        raise ClusterError(f"the page is built by Node.js {wanted} or newer; this is {version}")


def browser_environment() -> dict[str, str]:
    """Return where the browser is that tests drive; Debian's is installed if there is none."""
    if chosen := os.environ.get("CHROMIUM"):
        return {"CHROMIUM": chosen}
    if shutil.which("chromium") is None:
        debian.require(_BROWSER_PACKAGES, reason="a test in a browser")
    found = shutil.which("chromium") or shutil.which("chromium-browser")
    if found is None:
        raise ClusterError("no Chromium: install it, or say in CHROMIUM where it is")
    return {"CHROMIUM": found}


def _digest(web: Path, names: Iterable[str]) -> str:
    """Return a digest of files, and of all in directories."""
    digest = hashlib.sha256()
    for name in names:
        path = web / name
        files = sorted(path.rglob("*")) if path.is_dir() else [path]
        for file in files:
            if file.is_file():
                content = file.read_bytes()
                digest.update(f"{file.relative_to(web)} {len(content)}\n".encode())
                digest.update(content)
    return digest.hexdigest()


def _lock_of(web: Path) -> Path:
    name = hashlib.sha256(str(web.resolve()).encode()).hexdigest()[:16]
    return cache.cache_root() / "locks" / f"web-{name}.lock"


def _run(
    arguments: Sequence[str],
    directory: Path,
    *,
    environment: dict[str, str] | None = None,
    quiet: bool = False,
) -> None:
    """Run a program; a quiet one's output is shown only if it fails."""
    result = subprocess.run(
        arguments,
        cwd=directory,
        env=os.environ | (environment or {}),
        stdin=subprocess.DEVNULL,
        capture_output=quiet,
        text=True,
        check=False,
    )
    if result.returncode != 0:
        output = f":\n{(result.stdout + result.stderr)[-4000:]}" if quiet else ""
        raise ClusterError(f"{' '.join(arguments)} failed{output}")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return the exit status."""
    options = _parser().parse_args(arguments)
    try:
        match options.command:
            case "build":
                print(build())
            case "test":
                check(browser=options.browser, report=options.report)
            case "screenshots":
                screenshots(options.output)
    except ClusterError as error:
        print(f"hack.web: {error}", file=sys.stderr)
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m hack.web", description="Builds and tests the web page and its elements."
    )
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("build", help="leave the page in web/dist, and print where that is")
    test = commands.add_parser("test", help="types, format, logic, and the page in Chromium")
    test.add_argument(
        "--browser",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="whether to run those in Chromium too (default: yes)",
    )
    test.add_argument("--report", type=Path, help="leave a report in JUnit's form, too")
    pictures = commands.add_parser("screenshots", help="take the documentation's pictures anew")
    pictures.add_argument("--output", type=Path, default=SCREENSHOTS)
    return parser


if __name__ == "__main__":
    sys.exit(main())
