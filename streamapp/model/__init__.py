"""What an event, a Kafka record and its coordinates are."""
