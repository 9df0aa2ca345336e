"""MongoDB: events, rollups and dead-letter counts."""
