"""Who is asking: OpenID Connect, Backstage's own tokens, and the login of the gateway's page."""
