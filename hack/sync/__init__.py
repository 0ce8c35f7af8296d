"""Keeps what is derived from a source in this repository in step with it.

``python -m hack.sync`` writes every derived file; ``--check`` writes nothing, shows what would
change and fails if anything would.
"""
