"""Settings of the internal API."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, Field

Name = Annotated[str, Field(pattern=r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$", max_length=253)]


class InternalSettings(BaseModel):
    """Who may use the internal API: one ServiceAccount, with a token for one audience."""

    operator_namespace: Name
    """Namespace of the operator's ServiceAccount."""

    operator_service_account: Name
    """Name of the operator's ServiceAccount."""

    audience: Annotated[str, Field(min_length=1, max_length=253)] = "notifications-gateway"
    """Audience that the operator's projected token must be for."""

    review_seconds: Annotated[float, Field(ge=0)] = 60
    """Seconds for which the API server's word on a token counts."""

    @property
    def operator(self) -> str:
        """The operator's user name, as the API server says it."""
        return f"system:serviceaccount:{self.operator_namespace}:{self.operator_service_account}"
