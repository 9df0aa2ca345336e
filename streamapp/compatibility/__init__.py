"""Avro schemas compared: which can read what the other has written, and in what they differ."""
