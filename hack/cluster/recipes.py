"""Writes the pinned Go modules of `hack/cluster/go` anew: `python -m hack.cluster.recipes`.

Run it after a change of `versions`; it needs Go and the Go module proxy. What it writes is
committed, so that go.sum vouches for every module a later build downloads.
"""

import json
import re
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from hack.cluster import versions
from hack.cluster.packages import CONTROL_PLANE, NODE, TOOLS, package
from hack.cluster.sources.gobuild import RECIPES, find_go

REQUIREMENTS: Mapping[str, Mapping[str, str]] = {
    "kubernetes": {
        "k8s.io/kubernetes": versions.KUBERNETES,
        "go.etcd.io/etcd/server/v3": versions.ETCD,
    },
    "containerd": {"github.com/containerd/containerd/v2": versions.CONTAINERD},
    "runc": {"github.com/opencontainers/runc": versions.RUNC},
    "helm": {"helm.sh/helm/v4": versions.HELM},
    "kind": {"sigs.k8s.io/kind": versions.KIND},
}
"""Recipe to the modules whose main packages it builds, with their versions."""


def render_go_mod(recipe: str, staging: Sequence[str]) -> str:
    """Return the go.mod of a recipe, before `go mod tidy`.

    Parameters
    ----------
    staging
        Modules that k8s.io/kubernetes names at v0.0.0, as its own tree replaces them: outside of it
        each needs a replacement by its published version, v0.<minor>.<patch>.
    """
    published = f"v0.{versions.KUBERNETES.removeprefix('1.')}"
    lines = [
        f"module notifications-operator/hack/cluster/go/{recipe}",
        f"go {'.'.join(map(str, versions.GO_MINIMUM))}.0",
        *(f"require {module} v{version}" for module, version in REQUIREMENTS[recipe].items()),
        *(f"replace {module} => {module} {published}" for module in staging),
    ]
    return "\n\n".join(lines) + "\n"


def render_tools_go(imports: Sequence[str]) -> str:
    """Return a Go file that keeps main packages in the module's dependencies."""
    lines = "\n".join(f'\t_ "{path}"' for path in sorted(imports))
    return f"//go:build tools\n\npackage tools\n\nimport (\n{lines}\n)\n"


def imports_of(recipe: str) -> list[str]:
    """Return the main packages that are built by a recipe."""
    builds = [package(name).build for name in (*TOOLS, *CONTROL_PLANE, *NODE, "kind")]
    return [path for build in builds if build.recipe == recipe for path in build.imports.values()]


def main() -> None:
    """Write every recipe."""
    go = find_go()
    staging = _staging_modules(go)
    for recipe in REQUIREMENTS:
        directory = RECIPES / recipe
        directory.mkdir(parents=True, exist_ok=True)
        replaced = staging if recipe == "kubernetes" else []
        (directory / "go.mod").write_text(render_go_mod(recipe, replaced))
        (directory / "go.sum").unlink(missing_ok=True)
        (directory / "tools.go").write_text(render_tools_go(imports_of(recipe)))
        print(f"go mod tidy: {recipe}", file=sys.stderr, flush=True)
        subprocess.run([go, "mod", "tidy"], cwd=directory, check=True)


def _staging_modules(go: str) -> list[str]:
    argv = [go, "mod", "download", "-json", f"k8s.io/kubernetes@v{versions.KUBERNETES}"]
    output = subprocess.run(argv, capture_output=True, text=True, check=True).stdout
    go_mod = Path(json.loads(output)["GoMod"]).read_text()
    return re.findall(r"^\s*(k8s\.io/[a-z-]+) v0\.0\.0$", go_mod, re.MULTILINE)


if __name__ == "__main__":
    main()
