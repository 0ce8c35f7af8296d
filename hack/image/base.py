"""The base layer: a minimal Debian with Python, by debootstrap."""

import hashlib
import shutil
from collections.abc import Sequence
from pathlib import Path

from hack.cluster import cache, debian, packages, versions
from hack.image.archive import write_layer
from hack.image.commands import report, run
from hack.image.layout import GROUP, PASSWD, PREFIX

PYTHON = "3.13"
"""Of `versions.DEBIAN_SUITE`."""

GLIBC_MINOR = 41
"""Of `versions.DEBIAN_SUITE`: glibc 2.x, which decides the wheels that fit (PEP 600)."""

COMPILE = ("-m", "compileall", "-q", "--invalidation-mode", "unchecked-hash")
"""Arguments to Python that compile directories so that the result depends on nothing but them.

PEP 552: layers carry no times of modification, and the file system of the container is read-only,
so files compiled in any other mode would be compiled again at every start.
"""

_INCLUDED = ("python3", "python3-venv", "ca-certificates")

_LEFT_OUT = (
    "debootstrap",
    "dev/",
    "proc/",
    "run/",
    "sys/",
    "tmp/",
    f"usr/lib/python{PYTHON}/ensurepip",
    "usr/share/info",
    "usr/share/locale",
    "usr/share/man",
    "usr/share/python-wheels",
    "var/cache/",
    "var/lib/apt/lists/",
    "var/log/",
)
"""Not in the layer; a trailing slash keeps the directory itself."""


def ensure() -> Path:
    """Return the cache entry with `root`, the whole file system, and `layer.tar`, what is kept."""
    return cache.entry(key(), _build)


def key() -> str:
    """Return the cache entry's name."""
    recipe = repr((_INCLUDED, _LEFT_OUT, PASSWD, GROUP, PREFIX))
    digest = hashlib.sha256(recipe.encode()).hexdigest()[:12]
    return f"image/base-{versions.DEBIAN_SUITE}-{packages.architecture()}-{digest}"


def run_inside(root: Path, argv: Sequence[str], *, environment: Path, wheels: Path) -> None:
    """Run a program in the file system, with a virtual environment and wheels (/mnt) put in.

    The mounts belong to a namespace that ends with the program.
    """
    script = (
        'root=$1; mount --bind "$2" "$root/$4"; mount --bind "$3" "$root/mnt"; '
        'shift 4; exec chroot "$root" "$@"'
    )
    prefix = ["unshare", "--mount", "sh", "-euc", script, "sh"]
    run([*prefix, root, environment, wheels, PREFIX, *argv])


def _build(directory: Path) -> None:
    debian.require(["debootstrap"], reason="the image")
    report(f"making a Debian {versions.DEBIAN_SUITE} with debootstrap (about a minute)")
    root = directory / "root"
    argv = ["debootstrap", "--variant=minbase", f"--include={','.join(_INCLUDED)}"]
    run([*argv, versions.DEBIAN_SUITE, root, *_mirror()])
    for name, line in (("passwd", PASSWD), ("group", GROUP)):
        with (root / "etc" / name).open("a") as file:
            file.write(line)
    (root / PREFIX).mkdir(parents=True)
    for compiled in root.glob("usr/lib/python3*/**/__pycache__"):
        shutil.rmtree(compiled)
    run(["chroot", root, "python3", *COMPILE, f"/usr/lib/python{PYTHON}"])
    write_layer(root, directory / "layer.tar", keep=_is_kept)


def _mirror() -> list[str]:
    """Return the mirror this machine's apt uses, if any: the best guess at one that answers."""
    output = run(["apt-get", "indextargets", "--format=$(REPO_URI)", "Created-By: Packages"])
    uris = [uri for uri in output.split() if uri.rstrip("/").endswith("/debian")]
    return uris[:1]


def _is_kept(name: str) -> bool:
    if name.startswith("usr/share/doc/"):
        # The licences of the packages ask for these.
        return name.count("/") == 3 or name.endswith("/copyright")
    return not any(
        name == left_out or (left_out.endswith("/") and name.startswith(left_out))
        for left_out in _LEFT_OUT
    )
