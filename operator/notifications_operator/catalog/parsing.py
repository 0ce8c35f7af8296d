"""A ConfigMap of the catalog, read into entities."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Self

from .decoding import MAX_DECOMPRESSED_BYTES, UndecodableKey, decode_binary, decode_text
from .documents import BrokenDocument, Document, read_documents
from .entities import Entity
from .entity_reader import EntityReader, InvalidEntity
from .refs import EntityRef

MAX_PROBLEMS = 100
"""Problems of one source that are kept in words; all are counted."""


@dataclass(frozen=True, slots=True, order=True, kw_only=True)
class SourceKey:
    """Which ConfigMap."""

    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """A ConfigMap as the API server gives it; the values of `binary_data` are base64."""

    namespace: str
    name: str
    uid: str
    resource_version: str
    data: Mapping[str, str] = field(default_factory=dict)
    binary_data: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, body: Mapping[str, Any]) -> Self:
        """Take a ConfigMap from the body of an answer."""
        metadata = body["metadata"]
        return cls(
            namespace=metadata["namespace"],
            name=metadata["name"],
            uid=metadata["uid"],
            resource_version=metadata["resourceVersion"],
            data=body.get("data") or {},
            binary_data=body.get("binaryData") or {},
        )

    @property
    def key(self) -> SourceKey:
        """Which ConfigMap it is."""
        return SourceKey(namespace=self.namespace, name=self.name)


@dataclass(frozen=True, slots=True, kw_only=True)
class DocumentProblem:
    """Something in a source that is not served, in a sentence for its author.

    Attributes
    ----------
    key
        Key of the ConfigMap.
    document_index
        Position of the document in the key's text, from 0; None if the key as a whole is meant.
    line
        Line of that text, from 1; None likewise.
    message
        What is wrong and what would be valid.
    """

    key: str
    document_index: int | None = None
    line: int | None = None
    message: str

    def __str__(self) -> str:
        where = self.key
        if self.document_index is not None:
            where += f", document {self.document_index + 1}"
        if self.line is not None:
            where += f", line {self.line}"
        return f"{where}: {self.message}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Damage:
    """The part of a key that could not be used.

    Attributes
    ----------
    refs
        Entities whose documents could be read as far as their names.
    nameless
        Whether other documents could not, so that any entity may have been in them.
    """

    refs: frozenset[EntityRef] = frozenset()
    nameless: bool = False

    def may_hold(self, ref: EntityRef) -> bool:
        """Return whether an entity that the key lacks may stand in a document that is broken."""
        return self.nameless or ref in self.refs


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptEntity:
    """An entity of an older version of its key, served until a moment of the store's clock."""

    entity: Entity
    until: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ParsedSource:
    """One version of a ConfigMap.

    Attributes
    ----------
    entities
        The entities of each key, in the order of their documents.
    kept
        Entities of older versions, by key, that are served on unless any source defines them;
        `CatalogStore` adds them for broken keys.
    lapsed
        How many entities of a broken key were kept and are not any more, likewise.
    damage
        What could not be used, by key; keys without any are not in it.
    problems
        The first `MAX_PROBLEMS` problems.
    problem_count
        How many there are.
    """

    key: SourceKey
    uid: str
    resource_version: str
    entities: Mapping[str, tuple[Entity, ...]]
    kept: Mapping[str, tuple[KeptEntity, ...]] = field(default_factory=dict)
    lapsed: Mapping[str, int] = field(default_factory=dict)
    damage: Mapping[str, Damage] = field(default_factory=dict)
    problems: tuple[DocumentProblem, ...] = ()
    problem_count: int = 0


def parse_source(source: Source) -> ParsedSource:
    """Read all entities of a ConfigMap.

    Never fails: what cannot be used is left out and reported. It takes tens of microseconds per
    entity and should run in a thread; it never keeps other threads from running for long.
    """
    parser = _Parser()
    entities = {key: tuple(parser.entities(key, text)) for key, text in parser.texts(source)}
    return ParsedSource(
        key=source.key,
        uid=source.uid,
        resource_version=source.resource_version,
        entities=entities,
        damage=parser.damage(),
        problems=tuple(parser.problems),
        problem_count=parser.problem_count,
    )


class _Parser:
    """Reads one source and takes note of its problems."""

    def __init__(self) -> None:
        self._broken_refs: dict[str, set[EntityRef | None]] = {}
        self.problems: list[DocumentProblem] = []
        self.problem_count = 0
        self._reader = EntityReader()

    def texts(self, source: Source) -> Iterator[tuple[str, str]]:
        yield from sorted(source.data.items())
        remaining = MAX_DECOMPRESSED_BYTES
        for key, value in sorted(source.binary_data.items()):
            try:
                content = decode_binary(value, limit=remaining)
                remaining = max(0, remaining - len(content))
                yield key, decode_text(content)
            except UndecodableKey as error:
                self._broken(DocumentProblem(key=key, message=str(error)))

    def entities(self, key: str, text: str) -> Iterator[Entity]:
        for document in read_documents(text):
            match document:
                case BrokenDocument():
                    self._broken(
                        DocumentProblem(
                            key=key,
                            document_index=document.index,
                            line=document.line,
                            message=document.message,
                        )
                    )
                case Document():
                    yield from self._entities_of(key, document)

    def damage(self) -> Mapping[str, Damage]:
        return {
            key: Damage(
                refs=frozenset(ref for ref in refs if ref is not None), nameless=None in refs
            )
            for key, refs in self._broken_refs.items()
        }

    def _entities_of(self, key: str, document: Document) -> Iterator[Entity]:
        for item, content in _unwrapped(document):

            def problem(message: str, item: int | None = item) -> DocumentProblem:
                return DocumentProblem(
                    key=key,
                    document_index=document.index,
                    line=document.line,
                    message=message if item is None else f"item {item + 1}: {message}",
                )

            try:
                yield self._reader.read(content, lambda message: self._note(problem(message)))
            except InvalidEntity as error:
                self._broken(problem(str(error)), error.ref)

    def _broken(self, problem: DocumentProblem, ref: EntityRef | None = None) -> None:
        self._broken_refs.setdefault(problem.key, set()).add(ref)
        self._note(problem)

    def _note(self, problem: DocumentProblem) -> None:
        self.problem_count += 1
        if len(self.problems) < MAX_PROBLEMS:
            self.problems.append(problem)


def _unwrapped(document: Document) -> Iterator[tuple[int | None, object]]:
    """Yield the entities that a document is about, with their position if it is a list of them."""
    match document.content:
        case {"items": list() as items, **rest} if rest.get("kind") in (None, "List"):
            yield from enumerate(items)
        case content:
            yield document.item, content
