"""Sample events, and sample events with faults."""
