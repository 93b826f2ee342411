"""Ray actors: plain classes that work alone, and thin shells over them."""
