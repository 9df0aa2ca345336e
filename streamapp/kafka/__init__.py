"""Kafka, seen from outside the consumer group: topics, readers, producers."""
