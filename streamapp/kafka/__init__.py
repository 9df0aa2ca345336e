"""Kafka from outside the consumer group: administration, topic readers, producers."""
