"""An API server over a socket that serves few objects and misbehaves as it is told.

Modelled: discovery, definitions, lists (whole or as metadata), watches, reads, Leases, and writes
of a status without any merging. Bodies are served as the texts they were put in as, so that a test
may put in what no client of Python could make.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from aiohttp import web
from kubernetes.aio import client

from notifications_operator.api.references import NOTIFICATIONS, PROCESSORS, SLICES
from notifications_operator.api.resource import GROUP, VERSION
from notifications_operator.kube.candidacy import INSTALL_ANNOTATION
from notifications_operator.kube.nesting import read_json
from notifications_operator.kube.transport import Transport
from tests.support.definitions import CRDS

Fault = Callable[[web.Request], web.StreamResponse | None]
"""Answers a request in place of the server, or lets it pass."""

_EXTENSIONS = "apiextensions.k8s.io"
_DEFINITIONS = "customresourcedefinitions"
_KINDS = {
    NOTIFICATIONS: "Notification",
    PROCESSORS: "NotificationProcessor",
    SLICES: "NotificationDeliverySlice",
}


def refusal(status: int, message: str = "") -> web.Response:
    """Return the ``Status`` object of an error."""
    return web.json_response({"kind": "Status", "code": status, "message": message}, status=status)


def failing(status: int, part: str, *, times: int = 10**9, message: str = "") -> Fault:
    """Answer requests whose path has a part with an error, so many times."""
    left = times

    def fault(request: web.Request) -> web.StreamResponse | None:
        nonlocal left
        if part not in request.path or left <= 0:
            return None
        left -= 1
        return refusal(status, message)

    return fault


@dataclass
class APIServer:
    """The objects of one cluster by kind and name, as texts, and who watches them."""

    host: str = ""
    faults: list[Fault] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)
    objects: dict[str, dict[str, str]] = field(default_factory=dict)
    _leases: dict[str, dict[str, Any]] = field(default_factory=dict)
    _watchers: dict[str, set[asyncio.Queue[str]]] = field(default_factory=dict)
    _version: int = 100

    def configuration(self) -> client.Configuration:
        """Return what a client connects with."""
        return client.Configuration(host=self.host)

    def transport(self) -> Transport:
        """Return our own client's transport."""
        return Transport(client.ApiClient(self.configuration()))

    def put(self, plural: str, text: str) -> None:
        """Create an object, or replace it, whatever it is."""
        name = read_json(text.encode())["metadata"]["name"]
        self.objects.setdefault(plural, {})[name] = text
        for watcher in self._watchers.get(plural, ()):
            watcher.put_nowait(f'{{"type":"ADDED","object":{text}}}')

    def say(self, plural: str, line: str) -> None:
        """Say something to those who watch a kind."""
        for watcher in self._watchers.get(plural, ()):
            watcher.put_nowait(line)

    def watched(self, plural: str) -> bool:
        """Whether somebody watches a kind now."""
        return bool(self._watchers.get(plural))

    def hold_lease(self, namespace: str, name: str, holder: str, *, install: str) -> None:
        """Let somebody hold a Lease for longer than any test takes."""
        self._leases[name] = {
            "metadata": {
                "namespace": namespace,
                "resourceVersion": "1",
                "annotations": {INSTALL_ANNOTATION: install},
            },
            "spec": {"holderIdentity": holder, "leaseDurationSeconds": 3600},
        }

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Answer one request."""
        self.requests.append(f"{request.method} {request.path}")
        for fault in self.faults:
            if (answer := fault(request)) is not None:
                return answer
        return await self._answer(request)

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        parts = request.path.strip("/").split("/")
        match parts:
            case ["version"]:
                return web.json_response({"gitVersion": "v1.37.2"})
            case ["api"]:
                return web.json_response({"versions": ["v1"]})
            case ["apis"]:
                groups = {GROUP: VERSION, _EXTENSIONS: "v1"}
                return web.json_response({"groups": [_group(*item) for item in groups.items()]})
            case ["api", "v1"]:
                return web.json_response({"resources": [_discovered("namespaces", "Namespace")]})
            case ["apis", _, _]:
                kinds = _KINDS if parts[1] == GROUP else {_DEFINITIONS: "CustomResourceDefinition"}
                found = [_discovered(plural, kind) for plural, kind in kinds.items()]
                return web.json_response({"resources": found})
            case ["apis", _, _, "customresourcedefinitions", name]:
                return web.json_response(_definition(name))
        if "leases" in parts:
            return await self._lease(request)
        if "events" in parts:
            return web.json_response({})
        return await self._objects(request, parts)

    async def _objects(self, request: web.Request, parts: list[str]) -> web.StreamResponse:
        plural = next(
            (part for part in parts if part in {*_KINDS, "configmaps", "secrets"}), parts[-1]
        )
        if "watch" in request.query:
            return await self._watch(request, plural)
        there = self.objects.get(plural, {})
        if parts[-1] == plural:
            return self._list(request, there)
        name = parts[-2] if parts[-1] == "status" else parts[-1]
        if name not in there:
            return refusal(404, f'{plural} "{name}" not found')
        return web.Response(text=there[name], content_type="application/json")

    def _list(self, request: web.Request, there: dict[str, str]) -> web.Response:
        items = list(there.values())
        if "PartialObjectMetadataList" in request.headers.get("Accept", ""):
            whole = [read_json(item.encode()) for item in items]
            items = [json.dumps({"metadata": item["metadata"]}) for item in whole]
        text = f'{{"metadata":{{"resourceVersion":"{self._version}"}},"items":[{",".join(items)}]}}'
        return web.Response(text=text, content_type="application/json")

    async def _watch(self, request: web.Request, plural: str) -> web.StreamResponse:
        queue: asyncio.Queue[str] = asyncio.Queue()
        self._watchers.setdefault(plural, set()).add(queue)
        response = web.StreamResponse(headers={"Content-Type": "application/json"})
        try:
            await response.prepare(request)
            while True:
                await response.write((await queue.get()).encode() + b"\n")
        finally:
            self._watchers[plural].discard(queue)

    async def _lease(self, request: web.Request) -> web.Response:
        listing = request.method == "GET" and "watch" not in request.query
        if listing and request.path.endswith("/leases"):
            return web.json_response({"metadata": {}, "items": list(self._leases.values())})
        text = await request.text()
        body = json.loads(text) if text else {}
        name = body.get("metadata", {}).get("name") or request.path.rsplit("/", 1)[-1]
        if request.method == "GET" and name not in self._leases:
            return refusal(404)
        if request.method != "GET":
            lease = self._leases.setdefault(name, {"metadata": {}, "spec": {}})
            lease["spec"] |= body["spec"]
            self._version += 1
            lease["metadata"] |= body["metadata"] | {
                "namespace": request.path.split("/namespaces/")[1].split("/")[0],
                "resourceVersion": str(self._version),
            }
        return web.json_response(self._leases[name])


def _group(name: str, version: str) -> dict[str, Any]:
    found = {"groupVersion": f"{name}/{version}", "version": version}
    return {"name": name, "versions": [found], "preferredVersion": found}


def _discovered(plural: str, kind: str) -> dict[str, Any]:
    return {
        "name": plural,
        "kind": kind,
        "singularName": plural.removesuffix("s"),
        "namespaced": True,
        "verbs": ["get", "list", "watch", "patch", "create", "delete"],
    }


def _definition(name: str) -> dict[str, Any]:
    for path in Path(CRDS).glob("*.yaml"):
        body: dict[str, Any] = yaml.safe_load(path.read_text())
        if body["metadata"]["name"] == name:
            return body
    raise KeyError(name)


@asynccontextmanager
async def api_server() -> AsyncIterator[APIServer]:
    """Serve on the loopback interface."""
    server = APIServer()
    application = web.Application(client_max_size=2**24)
    application.router.add_route("*", "/{path:.*}", server.handle)
    runner = web.AppRunner(application, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    server.host = f"http://127.0.0.1:{runner.addresses[0][1]}"
    try:
        yield server
    finally:
        await runner.cleanup()
