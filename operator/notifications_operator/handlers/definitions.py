"""Watches whether the installed custom resource definitions keep all that is written."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from ..api.errors import ForbiddenError, KubernetesError, NotFoundError
from ..api.notification import Notification
from ..api.processor import NotificationProcessor
from ..api.references import NOTIFICATIONS, PROCESSORS, SLICES
from ..api.resource import VERSION, KubernetesModel
from ..api.schema import missing_fields
from ..api.slice import NotificationDeliverySlice
from ..kube.client import KubernetesClient

logger = logging.getLogger(__name__)

CHECK_SECONDS = 30.0
"""Seconds between looks at definitions that fit."""

RECHECK_SECONDS = 5.0
"""Seconds between looks at definitions that do not."""

_MODELS: dict[str, type[KubernetesModel]] = {
    NOTIFICATIONS: Notification,
    PROCESSORS: NotificationProcessor,
    SLICES: NotificationDeliverySlice,
}


class DefinitionCheck:
    """Compares the installed definitions with the fields this release writes.

    The API server prunes unknown fields silently, so that with an older definition a claim would
    not be stored, and its mail sent again and again (DESIGN section 5).
    """

    def __init__(self, client: KubernetesClient, *, publish: Callable[[bool], None]) -> None:
        self._client = client
        self._publish = publish
        self.problem: str | None = "not checked yet"

    async def run(self) -> None:
        """Check now and then, until cancelled."""
        while True:
            before = self.problem
            self.problem = await self._check()
            if self.problem is not None and self.problem != before:
                logger.error("nothing is sent: %s", self.problem)
            elif self.problem is None and before is not None:
                logger.info("the installed definitions fit")
            self._publish(self.problem is None)
            await asyncio.sleep(RECHECK_SECONDS if self.problem else CHECK_SECONDS)

    async def _check(self) -> str | None:
        """Return what is wrong; a definition that cannot be read now keeps the last finding."""
        for plural, model in _MODELS.items():
            try:
                definition = await self._client.get_definition(plural)
            except NotFoundError:
                return f"the definition of {plural} is not installed"
            except ForbiddenError as error:
                return f"the definition of {plural} cannot be read: {error}"
            except KubernetesError as error:
                if self.problem is None:
                    logger.warning("could not read the definition of %s: %s", plural, error)
                    return None
                return f"the definition of {plural} cannot be read: {error}"
            schemas = [
                version["schema"]["openAPIV3Schema"]
                for version in definition["spec"]["versions"]
                if version["name"] == VERSION
            ]
            missing = missing_fields(model, schemas[0]) if schemas else [VERSION]
            if missing:
                return f"the installed definition of {plural} lacks {', '.join(missing[:10])}"
        return None
