"""The ledger of a large fan-out, in objects of its own beside the Notification."""
