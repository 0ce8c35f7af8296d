"""Access tokens of OAuth 2 (RFC 6749) for mail servers that take no passwords."""
