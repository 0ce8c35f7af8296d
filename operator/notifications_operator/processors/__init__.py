"""The channels notifications leave by; `base` is the protocol they follow."""
