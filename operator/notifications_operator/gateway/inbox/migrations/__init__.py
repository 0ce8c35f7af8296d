"""Alembic's migrations of the gateway's database; they are part of the wheel.

Each must leave the tables usable by the release before (DESIGN section 11), and none may change
once it was released.
"""
