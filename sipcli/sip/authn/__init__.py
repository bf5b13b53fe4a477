"""What a challenge means and what answers it: digest, policy, origin, and what servers asked for before."""
