"""The four transaction machines as tables, and what runs them (RFC 3261 section 17, RFC 6026)."""
