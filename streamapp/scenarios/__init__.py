"""Lessons about schema evolution over a running pipeline: TOML files that are played, narrated and verified."""
