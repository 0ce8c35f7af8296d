"""Compares the models with an OpenAPI schema of a custom resource definition."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Any, get_args

from .resource import KubernetesModel, Resource


def missing_fields(model: type[KubernetesModel], openapi_schema: Mapping[str, Any]) -> list[str]:
    """Name the fields that the operator writes with a model and a schema does not know.

    Those are the status, or all fields of a kind that has none.

    The API server prunes unknown fields silently, so that a claim written with an older custom
    resource definition would be lost (DESIGN section 5).

    Parameters
    ----------
    model
        The resource, such as `Notification`.
    openapi_schema
        ``openAPIV3Schema`` of the version in use. An object that preserves unknown fields counts
        as having them all.

    Returns
    -------
    list of str
        Dotted paths, such as ``status.deliveries[].holder``, in the model's order. A field whose
        whole parent is missing is not named itself.
    """
    if "status" not in model.model_fields:
        return list(_missing(model, openapi_schema, "", but=Resource.model_fields))
    status = _property(openapi_schema, "status")
    if status is None:
        return ["status"]
    (status_model,) = nested_models(model.model_fields["status"].annotation)
    return list(_missing(status_model, status, "status"))


def nested_models(annotation: Any) -> list[type[KubernetesModel]]:
    """Return the models that a field's type is made of, through lists, unions and ``Annotated``."""
    if isinstance(annotation, type) and issubclass(annotation, KubernetesModel):
        return [annotation]
    return [model for part in get_args(annotation) for model in nested_models(part)]


def _missing(
    model: type[KubernetesModel],
    schema: Mapping[str, Any],
    path: str,
    *,
    but: Collection[str] = (),
) -> Iterator[str]:
    for name, field in model.model_fields.items():
        if name in but:
            continue
        field_path = f"{path}.{field.alias or name}".removeprefix(".")
        child = _property(schema, field.alias or name)
        if child is None:
            yield field_path
            continue
        items = child.get("items")
        for nested in nested_models(field.annotation):
            if items is None:
                yield from _missing(nested, child, field_path)
            else:
                yield from _missing(nested, items, f"{field_path}[]")


def _property(schema: Mapping[str, Any], name: str) -> Mapping[str, Any] | None:
    """Return the schema of a property; one that preserves everything stands for all of its own."""
    known: Mapping[str, Any] = schema.get("properties") or {}
    if name in known:
        child: Mapping[str, Any] = known[name]
        return child
    return schema if schema.get("x-kubernetes-preserve-unknown-fields") else None
