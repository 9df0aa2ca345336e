"""Explain one event or dead letter: its document, its bytes, its schema, and the rollups that count it."""
