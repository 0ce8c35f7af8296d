"""All talk to the API server, kopf's watch aside."""
