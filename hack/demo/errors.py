"""The one exception of the demo."""


class DemoError(Exception):
    """What went wrong and what the user can do about it, ready to be printed."""
