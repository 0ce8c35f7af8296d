"""Plain values to entities: what is read of a Backstage entity, and what is wrong with it."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple

from .entities import KEPT_ANNOTATIONS, NO_ANNOTATIONS, Entity
from .quoting import MAX_QUOTED_LENGTH, quoted
from .refs import DEFAULT_NAMESPACE, EntityRef, InvalidEntityRef
from .values import Number, UnusableMapping

ORGANIZATION_API_VERSIONS = ("backstage.io/v1alpha1", "backstage.io/v1beta1")
"""What a User or Group may have as ``apiVersion`` (``User.v1alpha1.schema.json``)."""

_LABEL = "[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?"
_API_VERSION = re.compile(rf"({_LABEL}(\.{_LABEL})*/)?[A-Za-z0-9]{{1,63}}")
"""Values that Backstage takes as ``apiVersion`` (catalog-model ``isValidApiVersion``)."""

_BACKSTAGE_GROUP = re.compile(rf"({_LABEL}\.)*backstage\.io/")
_ORGANIZATION_KINDS = frozenset({"user", "group"})

Report = Callable[[str], None]
"""Takes a sentence about something that was left out of an entity."""


class InvalidEntity(ValueError):
    """A document that is no entity of the catalog: which field, its value, what is valid.

    Attributes
    ----------
    ref
        Name of the entity, if the document is valid as far as that.
    """

    def __init__(self, message: str, ref: EntityRef | None = None) -> None:
        super().__init__(message)
        self.ref = ref


class _Relation(NamedTuple):
    """Where the targets of a relation go, and the kind of those that do not name one."""

    attribute: str
    default_kind: str | None


_RELATIONS = {
    "hasMember": _Relation("members", "user"),
    "memberOf": _Relation("member_of", "group"),
    "parentOf": _Relation("children", "group"),
    "childOf": _Relation("parents", "group"),
    "ownedBy": _Relation("owners", "group"),
    "ownerOf": _Relation("owner_of", None),
}
"""Relations that recipients are resolved by; the kinds are those upstream emits them with."""


class EntityReader:
    """Reads the entities of one source, which share equal refs.

    An entity of which a field cannot be right is refused as a whole. Of a list of refs, an item
    that cannot be right is left out and reported, so that a misspelt member does not cost the
    others their mail. What only serves display is left out likewise.
    """

    def __init__(self) -> None:
        self._refs: dict[tuple[str, str | None, str], EntityRef] = {}

    def read(self, content: object, report: Report) -> Entity:
        """Read one entity.

        The rules of defaults are upstream's (``BuiltinKindsEntityProcessor``): within an entity
        the namespace of a ref is the entity's own, its kind that which the field is about.

        A kind of somebody's own API group is an entity like any other, with the owner that it
        states; the rest of its ``spec`` is its own affair.

        Raises
        ------
        InvalidEntity
            If the document is no entity, or one that must not be used.
        """
        envelope = _mapping(content, "the document")
        api_version = _required_text(envelope, "apiVersion", "apiVersion")
        ref, metadata = _identity(envelope)
        foreign = _BACKSTAGE_GROUP.match(api_version) is None
        fields = _Fields(ref, report, self._refs, foreign=foreign)
        try:
            _check_api_version(api_version, ref.kind)
            return fields.read(envelope, metadata)
        except InvalidEntity as error:
            raise InvalidEntity(f"{ref}: {error}", ref) from None


def _identity(envelope: Mapping[object, object]) -> tuple[EntityRef, Mapping[object, object]]:
    kind = _required_text(envelope, "kind", "kind")
    metadata = _mapping(envelope.get("metadata"), "metadata")
    name = _required_text(metadata, "name", "metadata.name")
    namespace = _optional_text(metadata, "namespace", "metadata.namespace")
    try:
        ref = EntityRef(kind=kind, namespace=namespace or DEFAULT_NAMESPACE, name=name)
    except InvalidEntityRef as error:
        raise InvalidEntity(f"{error.value} cannot name an entity: {error.reason}") from None
    return ref, metadata


def _check_api_version(api_version: str, kind: str) -> None:
    """Refuse a User or Group that is not Backstage's: its ref would be that of one which is."""
    if api_version in ORGANIZATION_API_VERSIONS:
        return
    if kind in _ORGANIZATION_KINDS:
        valid = " or ".join(ORGANIZATION_API_VERSIONS)
        raise InvalidEntity(f"apiVersion is {quoted(api_version)}; it must be {valid}")
    if _API_VERSION.fullmatch(api_version) is None:
        valid = "a version, with its API group if it has one, such as example.com/v1"
        raise InvalidEntity(f"apiVersion is {quoted(api_version)}; it must be {valid}")


class _Fields:
    """The fields of one entity beyond its identity."""

    def __init__(
        self,
        ref: EntityRef,
        report: Report,
        refs: dict[tuple[str, str | None, str], EntityRef],
        *,
        foreign: bool,
    ) -> None:
        self._ref = ref
        self._report_sentence = report
        self._refs = refs
        self._foreign = foreign

    def read(self, envelope: Mapping[object, object], metadata: Mapping[object, object]) -> Entity:
        spec = self._spec(envelope)
        targets = self._from_spec(spec)
        self._add_relations(targets, envelope.get("relations"))
        targets["members"] = self._users(targets["members"])
        profile: Mapping[object, object] = {}
        if self._ref.kind in _ORGANIZATION_KINDS:
            profile = _optional_mapping(spec, "profile", "spec.profile")
        return Entity(
            ref=self._ref,
            display_name=self._for_display(profile, "displayName", "spec.profile.displayName")
            or self._for_display(metadata, "title", "metadata.title"),
            email=_optional_text(profile, "email", "spec.profile.email"),
            annotations=self._annotations(metadata),
            **{attribute: tuple(dict.fromkeys(refs)) for attribute, refs in targets.items()},
        )

    def _spec(self, envelope: Mapping[object, object]) -> Mapping[object, object]:
        value = envelope.get("spec")
        if self._foreign and not isinstance(value, dict | UnusableMapping):
            return {}
        return _optional_mapping(envelope, "spec", "spec")

    def _from_spec(self, spec: Mapping[object, object]) -> dict[str, list[EntityRef]]:
        targets: dict[str, list[EntityRef]] = {
            relation.attribute: [] for relation in _RELATIONS.values()
        }
        match self._ref.kind:
            case "user":
                targets["member_of"] = self._list(spec, "memberOf", "group")
            case "group":
                targets["members"] = self._list(spec, "members", "user")
                targets["children"] = self._list(spec, "children", "group")
                targets["parents"] = self._single(spec, "parent", "group")
            case _:
                targets["owners"] = self._owners(spec)
        return targets

    def _list(
        self, spec: Mapping[object, object], field: str, default_kind: str
    ) -> list[EntityRef]:
        items = _optional_list(spec.get(field), f"spec.{field}", "entity refs")
        refs = []
        for number, item in enumerate(items):
            try:
                refs.append(self._parse(item, f"spec.{field}[{number}]", default_kind))
            except InvalidEntity as error:
                self._left_out(error)
        return refs

    def _single(
        self, spec: Mapping[object, object], field: str, default_kind: str
    ) -> list[EntityRef]:
        value = spec.get(field)
        return [] if value is None else [self._parse(value, f"spec.{field}", default_kind)]

    def _owners(self, spec: Mapping[object, object]) -> list[EntityRef]:
        """Return ``spec.owner``, which kinds of other API groups may use in their own way."""
        if not self._foreign:
            return self._single(spec, "owner", "group")
        if not isinstance(spec.get("owner"), str):
            return []
        try:
            return self._single(spec, "owner", "group")
        except InvalidEntity as error:
            self._left_out(error)
            return []

    def _add_relations(self, targets: dict[str, list[EntityRef]], value: object) -> None:
        for number, item in enumerate(_optional_list(value, "relations", "relations")):
            where = f"relations[{number}]"
            try:
                fields = _mapping(item, where)
                type_ = fields.get("type")
                relation = _RELATIONS.get(type_) if isinstance(type_, str) else None
                if relation is not None:
                    ref = self._parse(
                        fields.get("targetRef"), f"{where}.targetRef", relation.default_kind
                    )
                    targets[relation.attribute].append(ref)
            except InvalidEntity as error:
                self._left_out(error)

    def _parse(self, value: object, where: str, default_kind: str | None) -> EntityRef:
        if not isinstance(value, str):
            raise InvalidEntity(f"{where} is {_described(value)}; it must be an entity ref")
        key = (value, default_kind, self._ref.namespace)
        ref = self._refs.get(key)
        if ref is None:
            try:
                ref = EntityRef.parse(
                    value, default_kind=default_kind, default_namespace=self._ref.namespace
                )
            except InvalidEntityRef as error:
                raise InvalidEntity(f"{where}: {error}") from None
            self._refs[key] = ref
        return ref

    def _users(self, members: list[EntityRef]) -> list[EntityRef]:
        for ref in members:
            if ref.kind != "user" and self._ref.kind == "group":
                self._left_out(f"the member {ref} is no user; groups belong in spec.children")
        return [ref for ref in members if ref.kind == "user"]

    def _annotations(self, metadata: Mapping[object, object]) -> Mapping[str, str]:
        annotations = _optional_mapping(metadata, "annotations", "metadata.annotations")
        kept = {
            key: value
            for key in sorted(KEPT_ANNOTATIONS & annotations.keys())
            if (value := self._for_display(annotations, key, f"metadata.annotations.{key}"))
        }
        return kept or NO_ANNOTATIONS

    def _for_display(self, mapping: Mapping[object, object], key: str, where: str) -> str | None:
        try:
            return _optional_text(mapping, key, where)
        except InvalidEntity as error:
            self._left_out(error)
            return None

    def _left_out(self, what: object) -> None:
        self._report_sentence(f"{self._ref}: {what}; left out")


def _mapping(value: object, where: str) -> Mapping[object, object]:
    if isinstance(value, dict):
        return value
    if isinstance(value, UnusableMapping):
        raise InvalidEntity(f"{where} cannot be used: {value.reason}")
    if value is None:
        raise InvalidEntity(f"{where} is missing")
    raise InvalidEntity(f"{where} is {_described(value)}; it must be a mapping")


def _optional_mapping(
    mapping: Mapping[object, object], key: str, where: str
) -> Mapping[object, object]:
    value = mapping.get(key)
    return {} if value is None else _mapping(value, where)


def _optional_list(value: object, where: str, of: str) -> Iterable[object]:
    if value is None:
        return ()
    if isinstance(value, list):
        return value
    raise InvalidEntity(f"{where} is {_described(value)}; it must be a list of {of}")


def _required_text(mapping: Mapping[object, object], key: str, where: str) -> str:
    value = _optional_text(mapping, key, where)
    if not value:
        raise InvalidEntity(f"{where} is missing")
    return value


def _optional_text(mapping: Mapping[object, object], key: str, where: str) -> str | None:
    value = mapping.get(key)
    if value is None:
        return None
    if not isinstance(value, str):
        raise InvalidEntity(f"{where} is {_described(value)}; it must be a string")
    if not value.isascii():
        try:
            value.encode()
        except UnicodeEncodeError:
            raise InvalidEntity(f"{where} has a surrogate character that stands alone") from None
    return value


def _described(value: object) -> str:
    match value:
        case None:
            return "empty"
        case str():
            return f"the string {quoted(value)}"
        case bool():
            return f"the boolean {str(value).lower()} (in quotes it would be a string)"
        case Number():
            return f"the number {value.text[:MAX_QUOTED_LENGTH]} (in quotes it would be a string)"
        case list():
            return "a list"
        case _:
            return "a mapping"
