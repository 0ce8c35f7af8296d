"""The format of the ledger, which says whether a release can read what another one wrote."""

from __future__ import annotations

LEDGER_FORMAT = 1
"""Format that this release writes, in ``status.ledger.format`` and in slices; absent means 1.

A release raises it when an older one would misread the ledger: its fields, states or types. What
an older release may drop without harm, such as a field for people, is added without.
"""
