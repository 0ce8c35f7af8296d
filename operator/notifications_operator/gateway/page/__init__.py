"""The web page: files that Vite made of ``web/``, and what they are told of the gateway."""
