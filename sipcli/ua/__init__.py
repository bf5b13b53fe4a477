"""The shell: the event loop, sockets and threads around the core."""
