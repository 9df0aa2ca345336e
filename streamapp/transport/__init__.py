"""Faust's transport: partition batches, and commits of the acked prefix."""
