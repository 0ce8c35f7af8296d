"""The campaign against the gateway: posts and people on one side, kills on the other.

Gateways, PostgreSQL, operator and connections are struck in turn; what came of it is judged by the
mail server, PostgreSQL and the API server.
"""
