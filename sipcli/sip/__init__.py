"""The SIP core: no I/O, no clock, no threads.  Bytes and instants in; packets, events and a wake-up time out."""
