"""Finds processor types by their entry points."""

from __future__ import annotations

from importlib.metadata import entry_points

from .base import Processor
from .errors import InvalidProcessorConfig

ENTRY_POINT_GROUP = "notifications_operator.processors"
"""Entry-point group in which a distribution names its processor classes."""


class ProcessorRegistry:
    """All processor types that are installed."""

    def __init__(self, types: dict[str, type[Processor]]) -> None:
        self._types = types

    @classmethod
    def installed(cls) -> ProcessorRegistry:
        """Load the types of every installed distribution, ours among them.

        Raises
        ------
        TypeError
            If an entry point is not a `Processor`: a fault of the image, found at start.
        """
        types = {}
        for entry_point in entry_points(group=ENTRY_POINT_GROUP):
            loaded = entry_point.load()
            if not (isinstance(loaded, type) and issubclass(loaded, Processor)):
                raise TypeError(f"entry point {entry_point.value} is not a Processor")
            types[entry_point.name] = loaded
        return cls(types)

    def get(self, name: str) -> type[Processor]:
        """Return the class of a type.

        Raises
        ------
        InvalidProcessorConfig
            If no installed distribution has it.
        """
        try:
            return self._types[name]
        except KeyError:
            valid = ", ".join(sorted(self._types))
            raise InvalidProcessorConfig(
                f"spec.type: {name!r} is not installed; valid: {valid}"
            ) from None

    def is_idempotent(self, name: str) -> bool:
        """Return whether what processors of a type send can never be doubled."""
        kind = self._types.get(name)
        return kind is not None and kind.idempotent

    def reaches_strangers(self, name: str) -> bool:
        """Return whether processors of a type can send to users that the catalog lacks."""
        kind = self._types.get(name)
        return kind is not None and kind.reaches_strangers

    def channel(self, name: str) -> str:
        """Return the id under which users' settings know a type; empty if it has none."""
        kind = self._types.get(name)
        return kind.default_channel if kind is not None else ""
