"""The inbox: what people read on the gateway's page and in Backstage (DESIGN section 11)."""

from .processor import InboxProcessor

__all__ = ["InboxProcessor"]
