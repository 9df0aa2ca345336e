"""The programs that a benchmark compares."""
