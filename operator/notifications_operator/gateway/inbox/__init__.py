"""The inbox: what people read, kept in the relational database (DESIGN section 11)."""
