"""How fast it is, on the local backend; medians and ranges of several rounds, never a test."""
