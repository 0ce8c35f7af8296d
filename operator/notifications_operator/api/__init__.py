"""The custom resources as models; no I/O."""
