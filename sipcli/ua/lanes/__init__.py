"""Threads that may speak to the loop: registered, in lanes, and counted at the end."""
