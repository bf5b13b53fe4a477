"""Octets to messages and back: headers, URIs, framing, bodies.  No state."""
