"""Campaigns against operator and gateway: killed, cut off, lied to, and judged by their peers.

``python -m tests.chaos --help`` runs them; ``docs/reliability.md`` says what they prove.
"""
