"""Challenges as a program and its providers see them: hooks, handles, the broker and its chains."""
