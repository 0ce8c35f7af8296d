"""The health of a processor, judged by the outcomes of its sends; no I/O."""
