"""The checks of `streamapp verify` as pure functions: they send no request to a server."""
