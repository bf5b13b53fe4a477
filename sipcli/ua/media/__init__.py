"""A call's audio with its sockets: RTP, ICE, DTLS, the sound card, files and recordings."""
