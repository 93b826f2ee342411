"""From a request to written text: prompts, parsing, tokens, checks, and the comparison of answers."""
