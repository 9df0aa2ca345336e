"""Faust's transport: partition batches, and commits of the acknowledged prefix."""
