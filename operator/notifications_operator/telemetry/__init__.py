"""What operators of the operator see: logs, metrics, probes."""
