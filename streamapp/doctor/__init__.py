"""`streamapp doctor`: reads facts from servers and settings, and checks them with pure functions; writes nothing."""
