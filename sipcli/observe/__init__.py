"""What happened, told to a person: ladders and quality.  Reads events only."""
