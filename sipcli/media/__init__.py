"""Media, as values: SDP, RTP, codecs, jitter buffer.  No I/O and no clock here either."""
