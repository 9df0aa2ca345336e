"""Read-only access to what the workers store."""
