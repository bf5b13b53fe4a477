"""An embedded SIP server on loopback, built from the same core, that challenges as it is told."""
