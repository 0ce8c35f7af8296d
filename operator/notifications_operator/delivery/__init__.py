"""The delivery engine: plan, claim, send, record; its only memory is the API server."""
