"""Where clusters and programs come from, in the order they are tried."""
