"""Meanings of SMTP replies for a delivery, by a table of rules: the first that fits decides."""

from .envelope import Envelope
from .reply import Phase, Reply
from .verdict import refusal

__all__ = ["Envelope", "Phase", "Reply", "refusal"]
