from dataclasses import dataclass
from pathlib import Path

from hack.cluster import pki
from hack.cluster.controlplane import ControlPlane
from hack.cluster.network import Network


@dataclass(frozen=True, kw_only=True)
class Node:
    name: str
    directory: Path
    binaries: Path
    network: Network

    def start(self, authority: pki.Authority, control_plane: ControlPlane) -> None: ...
    def stop(self) -> None: ...
    def load_image(self, archive: Path) -> None: ...
