"""The one exception of the cluster tool."""


class ClusterError(Exception):
    """What went wrong and what the user can do about it, ready to be printed."""
