"""What watches the cluster and hands over to the engine: kopf's handlers, the catalog's feed."""
