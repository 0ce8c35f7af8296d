"""What the API server can answer when it does not do what was asked."""

from __future__ import annotations


class KubernetesError(Exception):
    """A request to the API server did not succeed."""


class NotFoundError(KubernetesError):
    """The object is not there (404)."""


class ConflictError(KubernetesError):
    """Someone else has written the object since it was read, or it exists already (409)."""


class ExpiredError(KubernetesError):
    """The resource version is too old to watch from (410); list again."""


class ForbiddenError(KubernetesError):
    """RBAC, a quota, a policy or a terminating namespace refuses the request (403)."""


class RejectedError(KubernetesError):
    """The request can never succeed as it is: invalid (400, 422) or too large (413, etcd)."""


class UnavailableError(KubernetesError):
    """The API server cannot be reached or cannot answer now (401, 429, 5xx, network).

    The request may have been carried out all the same.
    """
