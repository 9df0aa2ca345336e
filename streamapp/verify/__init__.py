"""Compare what was sent and what the topic holds with what has become of it: `streamapp verify`."""
