"""INVITE and all that follows from it: offers, PRACK, UPDATE, timers, transfers."""
