"""The routes of ``/api/notifications``, and what they have in common."""
