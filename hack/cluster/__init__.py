"""Real Kubernetes clusters for tests, demo and benchmark.

`up` gives one, from the first source that can: `KUBECONFIG`, kind, or processes of this machine
whose programs come from the cache, a download, or a build from source. See docs/cluster.md.
"""

from hack.cluster.clusters import Cluster, Tools, down, find, tools, up
from hack.cluster.errors import ClusterError
from hack.cluster.record import Source

__all__ = ["Cluster", "ClusterError", "Source", "Tools", "down", "find", "tools", "up"]
