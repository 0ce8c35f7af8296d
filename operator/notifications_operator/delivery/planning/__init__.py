"""Whom a Notification reaches, through which processors, and until when."""
