"""References to Secrets."""

from __future__ import annotations

from .fields import ObjectName, SecretKeyName
from .resource import KubernetesModel


class SecretKeyRef(KubernetesModel):
    """One key of a Secret in the processor's own namespace."""

    name: ObjectName
    key: SecretKeyName
