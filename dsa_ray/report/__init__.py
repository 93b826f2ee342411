"""What a run says of itself at its end: `summary` for machines, `html` for people."""
