"""REGISTER, its binding, and the flow that it keeps alive (RFC 3261 section 10, RFC 5626)."""
