"""The programs a cluster is made of, and where each comes from."""

import platform
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from hack.cluster import cache, versions
from hack.cluster.errors import ClusterError

TOOLS = ("kubectl", "helm")
CONTROL_PLANE = ("etcd", "kube-apiserver", "kube-controller-manager")
NODE = ("kube-scheduler", "kubelet", "kube-proxy", "containerd", "runc")


@dataclass(frozen=True, kw_only=True)
class Release:
    """A published download and the checksum published beside it, on the same host over https."""

    url: str
    checksums_url: str
    members: Mapping[str, str] = field(default_factory=dict)
    """File to its path inside the archive; empty when the download is the program itself."""


@dataclass(frozen=True, kw_only=True)
class GoBuild:
    """A build by one of the pinned modules in `hack/cluster/go`."""

    recipe: str
    imports: Mapping[str, str]
    """File to the import path of its main package."""
    ldflags: str = "-s -w"
    tags: str = ""
    cgo: bool = False


@dataclass(frozen=True, kw_only=True)
class Package:
    """Programs of one version that are obtained together."""

    name: str
    version: str
    release: Release
    build: GoBuild

    @property
    def files(self) -> tuple[str, ...]:
        """Names of the programs."""
        return tuple(self.build.imports)

    @property
    def key(self) -> str:
        """The cache entry."""
        return f"packages/{self.name}-{self.version}-linux-{architecture()}"

    def cached(self) -> Path | None:
        """Return the directory of the programs if the cache has them."""
        directory = cache.cache_root() / self.key
        return directory if directory.is_dir() else None


def architecture() -> str:
    """Return this machine's architecture as Go and Kubernetes call it.

    Raises
    ------
    ClusterError
        If no Kubernetes is released for it.
    """
    machine = platform.machine()
    known = {"x86_64": "amd64", "aarch64": "arm64"}
    if machine not in known:
        raise ClusterError(f"no Kubernetes binaries for machine type {machine!r}")
    return known[machine]


def _kubernetes(name: str) -> Package:
    url = f"https://dl.k8s.io/v{versions.KUBERNETES}/bin/linux/{architecture()}/{name}"
    major, minor, _ = versions.KUBERNETES.split(".")
    variable = "k8s.io/component-base/version.git"
    return Package(
        name=name,
        version=versions.KUBERNETES,
        release=Release(url=url, checksums_url=f"{url}.sha256"),
        build=GoBuild(
            recipe="kubernetes",
            imports={name: f"k8s.io/kubernetes/cmd/{name}"},
            ldflags=f"-s -w -X {variable}Version=v{versions.KUBERNETES}"
            f" -X {variable}Major={major} -X {variable}Minor={minor}",
        ),
    )


def _etcd() -> Package:
    base = f"https://github.com/etcd-io/etcd/releases/download/v{versions.ETCD}"
    stem = f"etcd-v{versions.ETCD}-linux-{architecture()}"
    return Package(
        name="etcd",
        version=versions.ETCD,
        release=Release(
            url=f"{base}/{stem}.tar.gz",
            checksums_url=f"{base}/SHA256SUMS",
            members={"etcd": f"{stem}/etcd"},
        ),
        # In one module with Kubernetes: both then share their many common dependencies.
        build=GoBuild(recipe="kubernetes", imports={"etcd": "go.etcd.io/etcd/server/v3"}),
    )


def _containerd() -> Package:
    version = versions.CONTAINERD
    url = (
        f"https://github.com/containerd/containerd/releases/download/v{version}"
        f"/containerd-{version}-linux-{architecture()}.tar.gz"
    )
    files = ("containerd", "containerd-shim-runc-v2", "ctr")
    return Package(
        name="containerd",
        version=version,
        release=Release(
            url=url,
            checksums_url=f"{url}.sha256sum",
            members={file: f"bin/{file}" for file in files},
        ),
        build=GoBuild(
            recipe="containerd",
            imports={file: f"github.com/containerd/containerd/v2/cmd/{file}" for file in files},
            ldflags=f"-s -w -X github.com/containerd/containerd/v2/version.Version=v{version}",
            tags="no_btrfs,no_devmapper,no_zfs",
        ),
    )


def _runc() -> Package:
    base = f"https://github.com/opencontainers/runc/releases/download/v{versions.RUNC}"
    return Package(
        name="runc",
        version=versions.RUNC,
        release=Release(
            url=f"{base}/runc.{architecture()}", checksums_url=f"{base}/runc.sha256sum"
        ),
        build=GoBuild(
            recipe="runc",
            imports={"runc": "github.com/opencontainers/runc"},
            tags="seccomp",
            cgo=True,
        ),
    )


def _helm() -> Package:
    stem = f"linux-{architecture()}"
    url = f"https://get.helm.sh/helm-v{versions.HELM}-{stem}.tar.gz"
    return Package(
        name="helm",
        version=versions.HELM,
        release=Release(
            url=url, checksums_url=f"{url}.sha256sum", members={"helm": f"{stem}/helm"}
        ),
        build=GoBuild(
            recipe="helm",
            imports={"helm": "helm.sh/helm/v4/cmd/helm"},
            ldflags=f"-s -w -X helm.sh/helm/v4/internal/version.version=v{versions.HELM}",
        ),
    )


def _kind() -> Package:
    url = f"https://kind.sigs.k8s.io/dl/v{versions.KIND}/kind-linux-{architecture()}"
    return Package(
        name="kind",
        version=versions.KIND,
        release=Release(url=url, checksums_url=f"{url}.sha256sum"),
        build=GoBuild(recipe="kind", imports={"kind": "sigs.k8s.io/kind"}),
    )


def package(name: str) -> Package:
    """Return the package of a name in `TOOLS`, `CONTROL_PLANE` or `NODE`, or `kind`."""
    match name:
        case "etcd":
            return _etcd()
        case "containerd":
            return _containerd()
        case "runc":
            return _runc()
        case "helm":
            return _helm()
        case "kind":
            return _kind()
        case _:
            return _kubernetes(name)
