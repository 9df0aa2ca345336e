"""Rollups compared with the stored events, and repaired."""
