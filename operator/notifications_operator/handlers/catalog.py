"""Feeds the catalog: reads its ConfigMaps, keeps watching them, and hands directories over."""

from __future__ import annotations

import asyncio
import gc
import logging
import time
from collections.abc import Callable, Sequence
from contextlib import aclosing, suppress
from datetime import UTC, datetime, timedelta
from typing import Any

from ..api.errors import ExpiredError, ForbiddenError, KubernetesError
from ..catalog import CatalogStore, Directory, ParsedSource, Source, SourceKey, parse_source
from ..kube.client import KubernetesClient, ObjectVersion
from ..kube.events import EventRecorder
from ..settings import CatalogSettings, WatchSettings
from ..telemetry import metrics
from .resync import next_pause

logger = logging.getLogger(__name__)

RETRY_SECONDS = 5.0
"""Seconds before a namespace that could not be read is tried again."""


class CatalogFeed:
    """Keeps a `CatalogStore` in step with the ConfigMaps of some namespaces."""

    def __init__(
        self,
        client: KubernetesClient,
        recorder: EventRecorder,
        *,
        namespaces: Sequence[str],
        settings: CatalogSettings,
        watch: WatchSettings,
        publish: Callable[[Directory], None],
        leading: Callable[[], bool],
    ) -> None:
        self._client = client
        self._recorder = recorder
        self._namespaces = namespaces
        self._settings = settings
        self._watch_settings = watch
        self._publish = publish
        self._leading = leading
        self._unsaid: dict[SourceKey, ParsedSource] = {}
        self._may_speak = asyncio.Event()
        self._store = CatalogStore(
            settle=settings.settle,
            removal_settle=settings.removal_settle,
            zero=datetime.now(UTC) - timedelta(seconds=time.monotonic()),
        )
        self._read: dict[str, asyncio.Event] = {name: asyncio.Event() for name in namespaces}
        self._known: dict[str, dict[SourceKey, ObjectVersion]] = {name: {} for name in namespaces}
        self._reported: dict[SourceKey, tuple[str, ...]] = {}
        self._problem_counts: dict[SourceKey, int] = {}
        self._changed = asyncio.Event()
        self.unreadable: dict[str, str] = {}
        """Namespaces that cannot be read, with the reason."""

    async def run(self) -> None:
        """Watch until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            for namespace in self._namespaces:
                tasks.create_task(self._follow(namespace), name=f"catalog in {namespace}")
            tasks.create_task(self._sync(), name="catalog sync")
            tasks.create_task(self._build(), name="catalog directory")
            tasks.create_task(self._catch_up(), name="catalog Events")

    def lead(self) -> None:
        """Name the broken documents that were found while another process led."""
        self._may_speak.set()

    async def _catch_up(self) -> None:
        while True:
            await self._may_speak.wait()
            self._may_speak.clear()
            unsaid, self._unsaid = self._unsaid, {}
            for parsed in unsaid.values():
                await self._report(parsed)

    async def _sync(self) -> None:
        """Wait for the first reading of all namespaces, but not for ever for unreadable ones."""
        with suppress(TimeoutError):
            async with asyncio.timeout(self._settings.unreadable_grace):
                for read in self._read.values():
                    await read.wait()
        late = [name for name, read in self._read.items() if not read.is_set()]
        if late:
            logger.error("going on without catalog namespaces that cannot be read: %s", late)
        self._store.mark_synced(time.monotonic())
        self._changed.set()

    async def _follow(self, namespace: str) -> None:
        """List and watch one namespace; whatever goes wrong, list again."""
        while True:
            try:
                items, listed = await self._client.list_catalog(namespace)
                await self._replace(namespace, items)
                self._set_unreadable(namespace, None)
                self._read[namespace].set()
                version: str | None = listed
                while version is not None:
                    await self._watch(namespace, version)
                    version = await self._compare(namespace)
            except ExpiredError:
                continue
            except KubernetesError as error:
                level = logging.ERROR if isinstance(error, ForbiddenError) else logging.WARNING
                logger.log(level, "cannot read the catalog in %s: %s", namespace, error)
                self._set_unreadable(namespace, str(error))
                await asyncio.sleep(RETRY_SECONDS)

    async def _watch(self, namespace: str, version: str) -> None:
        """Take what the watch brings after a version, until it is time to compare."""
        end = asyncio.get_running_loop().time()
        end += next_pause(self._watch_settings.resync_interval)
        watch = self._client.watch_catalog(
            namespace, version, inactivity_timeout=self._watch_settings.inactivity_timeout
        )
        async with aclosing(watch) as events:
            while True:
                try:
                    async with asyncio.timeout_at(end):
                        event = await anext(events)
                except TimeoutError:
                    return
                if event.deleted:
                    self._remove(namespace, _key(event.body))
                else:
                    await self._apply(namespace, event.body)

    async def _compare(self, namespace: str) -> str | None:
        """Compare what is known with a list.

        Returns
        -------
        str or None
            The version to watch on from, or ``None`` if all must be read again.
        """
        listed, version = await self._client.list_catalog_versions(namespace)
        if set(listed) == set(self._known[namespace].values()):
            metrics.RESYNCS.labels("configmaps", "complete").inc()
            return version
        # What changed just now differs too, so this is no fault of the watch yet.
        logger.info("the catalog in %s differs from a list; reading it again", namespace)
        metrics.RESYNCS.labels("configmaps", "missed").inc()
        return None

    def _set_unreadable(self, namespace: str, problem: str | None) -> None:
        if problem is not None:
            self.unreadable[namespace] = problem
        elif self.unreadable.pop(namespace, None) is not None:
            logger.info("the catalog in %s can be read again", namespace)
        metrics.CATALOG_UNREADABLE.set(len(self.unreadable))

    async def _replace(self, namespace: str, items: Sequence[dict[str, Any]]) -> None:
        """Take a whole list: what is not in it is gone, even if no watch said so."""
        for gone in self._known[namespace].keys() - {_key(body) for body in items}:
            self._remove(namespace, gone)
        for body in items:
            await self._apply(namespace, body)

    async def _apply(self, namespace: str, body: dict[str, Any]) -> None:
        source = Source.of(body)
        self._known[namespace][source.key] = ObjectVersion.of(body)
        if self._store.is_current(source):
            return
        parsed = await asyncio.to_thread(parse_source, source)
        self._store.apply(parsed, time.monotonic())
        await self._report(parsed)
        self._changed.set()

    def _remove(self, namespace: str, key: SourceKey) -> None:
        self._known[namespace].pop(key, None)
        self._reported.pop(key, None)
        self._unsaid.pop(key, None)
        self._store.remove(key, time.monotonic())
        self._changed.set()

    async def _build(self) -> None:
        """Build the directory whenever changes have settled, off the event loop."""
        while True:
            self._changed.clear()
            delay = self._store.due(time.monotonic())
            if delay is None or delay > 0:
                with suppress(TimeoutError):
                    async with asyncio.timeout(delay):
                        await self._changed.wait()
                continue
            sources = self._store.take_due(time.monotonic())
            if sources is None:
                continue
            first = self._store.directory is None
            directory = await asyncio.to_thread(Directory.build, sources)
            self._store.adopt(directory)
            if first:
                # Entities live as long as the process: the collector need not visit them.
                gc.freeze()
            logger.info("catalog: %d entities, %d users", len(directory), directory.user_count)
            metrics.CATALOG_ENTITIES.set(len(directory))
            metrics.CATALOG_USERS.set(directory.user_count)
            metrics.CATALOG_BUILT.set_to_current_time()
            self._publish(directory)
            for gone in self._problem_counts.keys() - {parsed.key for parsed in sources}:
                del self._problem_counts[gone]
            self._measure_problems()
            for parsed in sources:
                await self._report(parsed)

    async def _report(self, source: ParsedSource) -> None:
        """Name broken documents in a Warning Event on their ConfigMap, once per kind of trouble."""
        if not self._leading():
            self._unsaid[source.key] = source
            return
        problems = tuple(str(problem) for problem in self._store.problems(source.key))
        amount = max(len(problems), source.problem_count)
        self._problem_counts[source.key] = amount
        self._measure_problems()
        if problems == self._reported.get(source.key, ()):
            return
        self._reported[source.key] = problems
        if not problems:
            return
        regarding = {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "namespace": source.key.namespace,
            "name": source.key.name,
            "uid": source.uid,
        }
        logger.warning("catalog ConfigMap %s: %s", source.key, "; ".join(problems[:5]))
        await self._recorder.record(
            regarding,
            warning=True,
            reason="InvalidEntities",
            action="Parse",
            note=f"{amount} problems; " + "; ".join(problems),
        )

    def _measure_problems(self) -> None:
        metrics.CATALOG_PROBLEMS.set(sum(self._problem_counts.values()))


def _key(body: dict[str, Any]) -> SourceKey:
    return SourceKey(namespace=body["metadata"]["namespace"], name=body["metadata"]["name"])
