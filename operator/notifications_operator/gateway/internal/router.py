"""The routes of the internal API. They belong on a port that no Ingress leads to."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from fastapi import APIRouter, Request

from ..inbox.inbox import Inbox
from .bodies import Batch, Question, read_body
from .epochs import Epochs
from .reviewer import TokenReviewer

PREFIX = "/internal/v1"

PAGE = 1000
"""Users that differ from the default in one answer."""


def internal_router(inbox: Inbox, reviewer: TokenReviewer) -> APIRouter:
    """Return the routes that the operator uses."""
    router = APIRouter(prefix=PREFIX, include_in_schema=False)
    epochs = Epochs()

    @router.get("/ready")
    async def ready(request: Request) -> dict[str, Any]:
        """Say that the operator is known here and that the database answers."""
        await reviewer.require_operator(request)
        await inbox.find([UUID(int=0)])
        return {"status": "ok"}

    @router.post("/deliveries")
    async def deliver(request: Request) -> dict[str, Any]:
        """Put a batch into the inbox, as a whole or not at all; say what became of each row."""
        await reviewer.require_operator(request)
        batch = await read_body(request, Batch)
        epochs.admit(batch.epoch)
        changes = await inbox.deliver(batch.to_rows())
        return {"results": [str(change) for _, change in changes]}

    @router.post("/preferences")
    async def preferences(request: Request) -> dict[str, Any]:
        """Say what is the default of each channel, and which users want it otherwise."""
        await reviewer.require_operator(request)
        question = await read_body(request, Question)
        answer = await inbox.preferences(
            question.origin,
            question.topic,
            question.channels,
            after=question.after,
            limit=PAGE,
        )
        return {
            "defaults": dict(answer.defaults),
            "exceptions": [
                {"user": item.user, "channels": dict(item.channels)} for item in answer.exceptions
            ],
            "next": answer.next,
        }

    return router
