"""Event notification (RFC 6665), publication (RFC 3903), and the packages that a softphone reads."""
