"""Map the settings to every client: Kafka, the token endpoint, the schema registry and MongoDB."""
