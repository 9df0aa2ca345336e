"""Look at dead letters, and send them back: `streamapp dlq`."""
