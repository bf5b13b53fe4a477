"""The control socket: other programs of the same user command a running one."""
