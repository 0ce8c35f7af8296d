"""The image without Docker: a Debian root file system, the locked wheels, the project's own wheel.

Three layers, the first two kept in the cache, so that changed code of the operator costs seconds.
"""

import hashlib
import os
import shutil
import sys
import tempfile
import tomllib
import venv
from collections.abc import Callable
from pathlib import Path

from hack.cluster import cache, packages, versions
from hack.cluster.errors import ClusterError
from hack.image import base
from hack.image.archive import Layer, write_archive, write_layer
from hack.image.commands import report, run
from hack.image.layout import PREFIX, REPOSITORY, TAG, image_config

_REQUIREMENTS = REPOSITORY / "requirements" / "operator.txt"


def build(archive: Path) -> None:
    """Write the image to an archive.

    Raises
    ------
    ClusterError
        If this is no Debian, or we are not root, or a step fails.
    """
    if os.geteuid() != 0 or shutil.which("apt-get") is None:
        raise ClusterError(
            "no Docker engine answers; without one the image is made with debootstrap, "
            "which needs root on Debian"
        )
    root = base.ensure()
    dependencies = cache.entry(_dependencies_key(), lambda to: _build_dependencies(root, to))
    with tempfile.TemporaryDirectory(dir=cache.cache_root()) as temporary:
        application = _build_application(root, dependencies, Path(temporary))
        write_archive(
            archive,
            name=TAG,
            layers=[
                Layer(tar=root / "layer.tar", created_by=f"debootstrap {versions.DEBIAN_SUITE}"),
                Layer(tar=dependencies / "layer.tar", created_by="requirements/operator.txt"),
                Layer(tar=application, created_by="notifications-operator"),
            ],
            config=image_config(packages.architecture()),
        )


def _dependencies_key() -> str:
    digest = hashlib.sha256(base.key().encode() + _REQUIREMENTS.read_bytes()).hexdigest()
    return f"image/dependencies-{digest[:12]}"


def _build_dependencies(root: Path, directory: Path) -> None:
    """Make `environment`, the virtual environment with the locked wheels, and `layer.tar`."""
    report("installing requirements/operator.txt")
    environment, wheels = directory / "environment", directory / "wheels"
    environment.mkdir()
    wheels.mkdir()
    _download_wheels(wheels)
    argv = ["python3", "-m", "venv", "--without-pip", f"/{PREFIX}"]
    base.run_inside(root / "root", argv, environment=environment, wheels=wheels)
    _install(root, environment, wheels)
    shutil.rmtree(wheels)
    write_layer(environment, directory / "layer.tar", prefix=PREFIX, keep=_is_used)


def _build_application(root: Path, dependencies: Path, directory: Path) -> Path:
    """Return a layer of what the project's own wheel adds to the virtual environment."""
    report("installing notifications-operator")
    installed = dependencies / "environment"
    environment, wheels = directory / "environment", directory / "wheels"
    wheels.mkdir()
    _build_wheel(wheels)
    # Hard links: installing a wheel adds files and changes none.
    run(["cp", "--archive", "--link", installed, environment])
    _install(root, environment, wheels)
    layer = directory / "layer.tar"
    write_layer(environment, layer, prefix=PREFIX, keep=_added(installed, environment))
    return layer


def _download_wheels(to: Path) -> None:
    """Download wheels for the image's Python, whatever Python this is, and check their hashes."""
    machine = {"amd64": "x86_64", "arm64": "aarch64"}[packages.architecture()]
    argv = [sys.executable, "-m", "pip", "download", "--quiet", "--require-hashes", "--no-deps"]
    argv += ["--only-binary=:all:", f"--python-version={base.PYTHON}", f"--dest={to}"]
    tags = [f"manylinux_2_{minor}" for minor in range(base.GLIBC_MINOR, 4, -1)]
    argv += [f"--platform={tag}_{machine}" for tag in (*tags, "manylinux2014", "linux")]
    run([*argv, f"--requirement={_REQUIREMENTS}"])


def _build_wheel(to: Path) -> None:
    """Build the wheel with the backend that pyproject.toml asks for, kept in the cache."""
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())
    requires: list[str] = project["build-system"]["requires"]

    def install_backend(directory: Path) -> None:
        venv.create(directory, with_pip=True)
        run([str(directory / "bin" / "python"), "-m", "pip", "install", "--quiet", *requires])

    digest = hashlib.sha256(repr((requires, sys.version)).encode()).hexdigest()
    backend = cache.entry(f"packages/build-backend-{digest[:12]}", install_backend)
    argv = [str(backend / "bin" / "python"), "-m", "pip", "wheel", "--quiet", "--no-deps"]
    run([*argv, "--no-build-isolation", "--no-cache-dir", f"--wheel-dir={to}", REPOSITORY])


def _install(root: Path, environment: Path, wheels: Path) -> None:
    """Install wheels with the pip that Debian ships as a wheel, and compile what they add."""
    pips = sorted((root / "root" / "usr" / "share" / "python-wheels").glob("pip-*.whl"))
    if not pips:
        raise ClusterError("python3-venv of the image brings no pip")
    python = f"/{PREFIX}/bin/python"
    packages_path = Path("lib") / f"python{base.PYTHON}" / "site-packages"
    before = {path.name for path in (environment / packages_path).iterdir()}
    argv = [python, f"/usr/share/python-wheels/{pips[-1].name}/pip", "install", "--quiet"]
    argv += ["--no-index", "--no-deps", "--no-compile", "--no-cache-dir"]
    argv += sorted(f"/mnt/{wheel.name}" for wheel in wheels.iterdir())
    base.run_inside(root / "root", argv, environment=environment, wheels=wheels)
    added = {path.name for path in (environment / packages_path).iterdir()} - before
    argv = [python, *base.COMPILE]
    argv += sorted(f"/{PREFIX}/{packages_path}/{name}" for name in added)
    base.run_inside(root / "root", argv, environment=environment, wheels=wheels)


def _is_used(name: str) -> bool:
    """Tell whether a container needs a file of the virtual environment: not to be activated."""
    relative = name.removeprefix(f"{PREFIX}/")
    return relative not in (".gitignore", "include") and not relative.lower().startswith(
        "bin/activate"
    )


def _added(before: Path, after: Path) -> Callable[[str], bool]:
    """Return a filter for what is in the second directory only, and the directories it is in."""
    kept: set[str] = set()
    for path in after.rglob("*"):
        relative = path.relative_to(after)
        if (path.is_symlink() or not path.is_dir()) and not os.path.lexists(before / relative):
            kept.update(f"{PREFIX}/{part}" for part in (relative, *relative.parents))
    return kept.__contains__
