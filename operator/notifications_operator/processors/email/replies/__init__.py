"""What SMTP replies mean for a delivery."""

from .envelope import Envelope
from .reply import Phase, Reply
from .verdict import refusal

__all__ = ["Envelope", "Phase", "Reply", "refusal"]
