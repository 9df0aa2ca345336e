"""Compare the records of the topic, and of a manifest, with documents and dead letters: `streamapp verify`."""
