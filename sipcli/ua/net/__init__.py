"""Sockets: UDP, streams, TLS, WebSocket, names looked up, and what changes when the network does."""
