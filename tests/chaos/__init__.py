"""Campaigns against the real operator: it is killed, cut off and lied to, and judged by its mails.

``python -m tests.chaos --help`` runs them; ``docs/reliability.md`` says what they prove.
"""
