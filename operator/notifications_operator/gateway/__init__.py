"""The gateway: Backstage's REST API, inbox, signals and web page (DESIGN section 11)."""
