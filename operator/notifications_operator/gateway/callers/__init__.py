"""The services that may send: their tokens, and how much of what they may do."""
