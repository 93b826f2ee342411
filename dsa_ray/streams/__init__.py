"""The two Ray Data streams that meet in the curator."""
