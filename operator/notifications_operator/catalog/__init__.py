"""The catalog: whom there is, how to reach them, and who a notification is for.

Backstage entities are read from ConfigMaps (`parse_source`), kept over time (`CatalogStore`),
indexed (`Directory`) and resolved to users (`resolve`). Everything here is pure: no I/O, no clock,
no Kubernetes.
"""

from .directory import Conflict, Directory
from .entities import SLACK_ANNOTATION, Entity
from .parsing import DocumentProblem, ParsedSource, Source, SourceKey, parse_source
from .refs import NOTIFICATION_REF_PATTERN, EntityRef, InvalidEntityRef
from .resolver import Resolution, resolve, resolve_broadcast
from .store import CatalogStore

__all__ = [
    "NOTIFICATION_REF_PATTERN",
    "SLACK_ANNOTATION",
    "CatalogStore",
    "Conflict",
    "Directory",
    "DocumentProblem",
    "Entity",
    "EntityRef",
    "InvalidEntityRef",
    "ParsedSource",
    "Resolution",
    "Source",
    "SourceKey",
    "parse_source",
    "resolve",
    "resolve_broadcast",
]
