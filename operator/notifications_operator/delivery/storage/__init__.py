"""How ledgers are written into the cluster, and what is left as it is."""
