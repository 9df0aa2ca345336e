"""Performance measurements on the local backend: medians and ranges of several rounds, never part of a test."""
