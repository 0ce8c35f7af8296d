"""A small client of a real API server for tests; nothing of the operator is in it."""

from __future__ import annotations

import asyncio
import base64
import json
import ssl
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import aiohttp
import yaml

Object = dict[str, Any]

_APIS = {
    "Notification": ("apis/notifications.orchestrator.io/v1alpha1", "notifications"),
    "NotificationProcessor": (
        "apis/notifications.orchestrator.io/v1alpha1",
        "notificationprocessors",
    ),
    "NotificationDeliverySlice": (
        "apis/notifications.orchestrator.io/v1alpha1",
        "notificationdeliveryslices",
    ),
    "ConfigMap": ("api/v1", "configmaps"),
    "Secret": ("api/v1", "secrets"),
    "Namespace": ("api/v1", "namespaces"),
    "Pod": ("api/v1", "pods"),
    "ServiceAccount": ("api/v1", "serviceaccounts"),
    "Deployment": ("apis/apps/v1", "deployments"),
    "Lease": ("apis/coordination.k8s.io/v1", "leases"),
    "Event": ("apis/events.k8s.io/v1", "events"),
    "Role": ("apis/rbac.authorization.k8s.io/v1", "roles"),
    "RoleBinding": ("apis/rbac.authorization.k8s.io/v1", "rolebindings"),
    "CustomResourceDefinition": ("apis/apiextensions.k8s.io/v1", "customresourcedefinitions"),
}
BUSY_SECONDS = 10.0
"""Seconds for which something is read again that the API server is too busy to answer (429)."""

_CLUSTER_SCOPED = {"Namespace", "CustomResourceDefinition"}


class APIError(Exception):
    """The API server refused; the message is what a user of kubectl sees."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(f"{status}: {message}")
        self.status = status
        self.message = message


class Kubernetes:
    """Talks to one API server as the kubeconfig's user, or as somebody else."""

    def __init__(self, kubeconfig: Path, *, impersonate: str | None = None) -> None:
        self._config = yaml.safe_load(kubeconfig.read_text())
        self._headers = {"Impersonate-User": impersonate} if impersonate else {}
        self.kubeconfig = kubeconfig

    async def __aenter__(self) -> Self:
        cluster = self._config["clusters"][0]["cluster"]
        user = self._config["users"][0]["user"]
        context = ssl.create_default_context(
            cadata=base64.b64decode(cluster["certificate-authority-data"]).decode()
        )
        if "client-certificate-data" in user:
            with tempfile.NamedTemporaryFile() as pem:
                for part in ("client-certificate-data", "client-key-data"):
                    pem.write(base64.b64decode(user[part]))
                pem.flush()
                context.load_cert_chain(pem.name)
        if "token" in user:
            self._headers["Authorization"] = f"Bearer {user['token']}"
        self._session = aiohttp.ClientSession(
            base_url=cluster["server"].rstrip("/") + "/",
            connector=aiohttp.TCPConnector(ssl=context),
            headers=self._headers,
        )
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self._session.close()

    async def create(self, manifest: Object, *, dry_run: bool = False) -> Object:
        """Create an object, unknown fields refused, as ``kubectl create`` does."""
        metadata = manifest["metadata"]
        query = {"fieldValidation": "Strict"} | ({"dryRun": "All"} if dry_run else {})
        path = _path(manifest["kind"], metadata.get("namespace"))
        return await self._request("POST", path, manifest, query=query)

    async def get(self, kind: str, name: str, namespace: str | None = None) -> Object:
        """Return an object."""
        return await self._request("GET", _path(kind, namespace, name))

    async def list(
        self, kind: str, namespace: str | None = None, query: Mapping[str, str] | None = None
    ) -> list[Object]:
        """Return all objects of a kind (in a namespace)."""
        answer = await self._request("GET", _path(kind, namespace), query=query)
        items: list[Object] = answer["items"]
        return items

    async def patch(
        self, kind: str, name: str, namespace: str | None, patch: Object, *, subresource: str = ""
    ) -> Object:
        """Apply a merge patch."""
        path = _path(kind, namespace, name) + (f"/{subresource}" if subresource else "")
        return await self._request("PATCH", path, patch, content="application/merge-patch+json")

    async def delete(
        self, kind: str, name: str, namespace: str | None = None, *, propagation: str = "Background"
    ) -> None:
        """Delete an object; one that is gone is fine."""
        try:
            await self._request(
                "DELETE", _path(kind, namespace, name), {"propagationPolicy": propagation}
            )
        except APIError as error:
            if error.status != 404:
                raise

    async def wait(
        self,
        kind: str,
        name: str,
        namespace: str | None,
        condition: Callable[[Object], bool],
        *,
        seconds: float = 30,
    ) -> Object:
        """Wait until an object fulfils a condition and return it; show it if it never does."""
        end = time.monotonic() + seconds
        while True:
            body = await self.get(kind, name, namespace)
            if condition(body):
                return body
            if time.monotonic() > end:
                raise AssertionError(
                    f"{kind} {name} is not as expected after {seconds} s:\n"
                    + yaml.safe_dump(body.get("status"), allow_unicode=True)
                )
            await asyncio.sleep(0.05)

    async def wait_gone(self, kind: str, name: str, namespace: str, *, seconds: float = 30) -> None:
        """Wait until an object is gone."""
        end = time.monotonic() + seconds
        while True:
            try:
                await self.get(kind, name, namespace)
            except APIError as error:
                if error.status == 404:
                    return
                raise
            if time.monotonic() > end:
                raise AssertionError(f"{kind} {name} is still there after {seconds} s")
            await asyncio.sleep(0.05)

    async def watch(
        self, kind: str, namespace: str, query: Mapping[str, str] | None = None
    ) -> AsyncIterator[Object]:
        """Yield events from now on, beginning with all objects that are there, until closed.

        The server ends watches when it likes to, also soon after a definition was installed; then
        all objects come again.
        """
        full = {**(query or {}), "watch": "true"}
        timeout = aiohttp.ClientTimeout(total=None)
        path = _path(kind, namespace)
        while True:
            async with self._session.get(path, params=full, timeout=timeout) as answer:
                if answer.status == 429:
                    # Its cache of a definition that was just installed is not filled yet.
                    await asyncio.sleep(0.1)
                    continue
                if answer.status >= 300:
                    raise APIError(answer.status, await answer.text())
                async for line in answer.content:
                    event: Object = json.loads(line)
                    yield event

    async def _request(
        self,
        method: str,
        path: str,
        body: Object | None = None,
        *,
        query: Mapping[str, str] | None = None,
        content: str = "application/json",
    ) -> Object:
        data = None if body is None else json.dumps(body)
        end = time.monotonic() + BUSY_SECONDS
        while True:
            async with self._session.request(
                method, path, data=data, params=query, headers={"Content-Type": content}
            ) as response:
                status, text = response.status, await response.text()
            # Just after a definition was installed its storage may not be ready yet.
            if status != 429 or method != "GET" or time.monotonic() > end:
                return _answer(status, text)
            await asyncio.sleep(0.2)


def _answer(status: int, text: str) -> Object:
    if status >= 300:
        try:
            message = json.loads(text)["message"]
        except (ValueError, KeyError):
            message = text
        raise APIError(status, message)
    answer: Object = json.loads(text)
    return answer


def _path(kind: str, namespace: str | None, name: str | None = None) -> str:
    prefix, plural = _APIS[kind]
    scope = "" if namespace is None or kind in _CLUSTER_SCOPED else f"namespaces/{namespace}/"
    return f"{prefix}/{scope}{plural}" + (f"/{name}" if name else "")


def condition_is(kind: str, status: str, reason: str | None = None) -> Callable[[Object], bool]:
    """Return a check for a condition of the newest generation."""

    def check(body: Object) -> bool:
        generation = body["metadata"]["generation"]
        return any(
            item["type"] == kind
            and item["status"] == status
            and item.get("observedGeneration") == generation
            and reason in (None, item["reason"])
            for item in body.get("status", {}).get("conditions", [])
        )

    return check


complete = condition_is("Complete", "True")
"""The Notification has ended, one way or another."""


def state_is(state: str) -> Callable[[Object], bool]:
    """Return a check for a Notification's state at its newest generation."""
    return lambda body: (
        body["status"]["state"] == state
        and body["status"]["observedGeneration"] == body["metadata"]["generation"]
    )


def notification(
    name: str,
    namespace: str,
    *refs: str,
    title: str,
    processors: list[str] | None = None,
    payload: Object | None = None,
    **spec: Any,
) -> Object:
    """Return a Notification to some refs, or to everybody if there are none.

    It goes through the chart's own processor unless others are named; an empty list names none.
    """
    recipients: Object = (
        {"type": "entity", "entityRefs": [*refs]} if refs else {"type": "broadcast"}
    )
    body: Object = {
        "recipients": recipients,
        "payload": {"title": title, **(payload or {})},
        **spec,
    }
    if processors is None:
        body["processors"] = ["email"]
    elif processors:
        body["processors"] = processors
    return {
        "apiVersion": "notifications.orchestrator.io/v1alpha1",
        "kind": "Notification",
        "metadata": {"name": name, "namespace": namespace},
        "spec": body,
    }


def rows(body: Object) -> dict[str, Object]:
    """Return a Notification's deliveries by recipient; processors must not overlap."""
    return {row["recipient"]: row for row in body["status"].get("deliveries", [])}
