"""Browse dead letters and replay them: `streamapp dlq`."""
