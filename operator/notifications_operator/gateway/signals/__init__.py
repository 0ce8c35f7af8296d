"""Live updates by Backstage's signals protocol (DESIGN section 11, Signals)."""
