"""The Leases of a cluster in memory, as strict as the API server about versions, with faults."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from copy import deepcopy
from typing import Any

from notifications_operator.api.errors import ConflictError, NotFoundError, UnavailableError
from tests.support.cluster import apply_merge_patch

Fault = Exception | asyncio.Event | None
Key = tuple[str, str]


class MemoryLeases:
    """Leases with compare-and-set; ``fault`` may fail or hang a request, by operation and Lease.

    Attributes
    ----------
    requests
        Operation, namespace and name of each; of lists the namespace is empty.
    lose_next_answer
        Whether the next write takes effect and its answer is lost.
    """

    def __init__(self) -> None:
        self.bodies: dict[Key, dict[str, Any]] = {}
        self.fault: Callable[[str, str, str], Fault] = lambda operation, namespace, name: None
        self.requests: list[tuple[str, str, str]] = []
        self.lose_next_answer = False
        self._version = 0
        self._changed = asyncio.Event()

    def spec(self, namespace: str, name: str) -> dict[str, Any]:
        """Return what a Lease says."""
        found: dict[str, Any] = self.bodies[namespace, name]["spec"]
        return found

    def edit(self, namespace: str, name: str, **spec: Any) -> None:
        """Change a Lease, as somebody else does."""
        before = self.bodies.get((namespace, name), {"metadata": {}})
        self._store(namespace, name, {**before, "spec": spec})

    def delete(self, namespace: str, name: str) -> None:
        """Delete a Lease, as a person does."""
        del self.bodies[namespace, name]
        self._tell()

    async def get_lease(self, namespace: str, name: str) -> dict[str, Any] | None:
        await self._arrive("get", namespace, name)
        return deepcopy(self.bodies.get((namespace, name)))

    async def list_leases(self, name: str) -> list[dict[str, Any]]:
        await self._arrive("list", "", name)
        return [deepcopy(body) for (_, found), body in self.bodies.items() if found == name]

    async def create_lease(
        self, namespace: str, name: str, *, metadata: Mapping[str, Any], spec: Mapping[str, Any]
    ) -> dict[str, Any]:
        await self._arrive("create", namespace, name)
        if (namespace, name) in self.bodies:
            raise ConflictError("it exists already")
        return self._store(namespace, name, {"metadata": dict(metadata), "spec": dict(spec)})

    async def patch_lease(
        self, namespace: str, name: str, *, metadata: Mapping[str, Any], spec: Mapping[str, Any]
    ) -> dict[str, Any]:
        await self._arrive("patch", namespace, name)
        body = self.bodies.get((namespace, name))
        if body is None:
            raise NotFoundError("there is none")
        if metadata["resourceVersion"] != body["metadata"]["resourceVersion"]:
            raise ConflictError("it has been modified")
        return self._store(
            namespace, name, apply_merge_patch(body, {"metadata": metadata, "spec": spec})
        )

    async def wait_for_lease(self, namespace: str, name: str, resource_version: str) -> bool:
        await self._arrive("watch", namespace, name)
        while (body := self.bodies.get((namespace, name))) is not None:
            if body["metadata"]["resourceVersion"] != resource_version:
                break
            await self._changed.wait()
        return True

    async def _arrive(self, operation: str, namespace: str, name: str) -> None:
        self.requests.append((operation, namespace, name))
        await asyncio.sleep(0)
        match self.fault(operation, namespace, name):
            case Exception() as error:
                raise error
            case asyncio.Event() as event:
                await event.wait()

    def _store(self, namespace: str, name: str, body: dict[str, Any]) -> dict[str, Any]:
        self._version += 1
        metadata = {
            **body["metadata"],
            "namespace": namespace,
            "name": name,
            "resourceVersion": str(self._version),
        }
        self.bodies[namespace, name] = {**body, "metadata": metadata}
        self._tell()
        if self.lose_next_answer:
            self.lose_next_answer = False
            raise UnavailableError("the answer was lost")
        return deepcopy(self.bodies[namespace, name])

    def _tell(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()
