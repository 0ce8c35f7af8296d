"""Mail over SMTP, through a local program, or to nowhere."""

from .processor import EmailProcessor

__all__ = ("EmailProcessor",)
