"""From a request to a Notification in the cluster, once (DESIGN section 11)."""
