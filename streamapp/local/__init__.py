"""Kafka, a schema registry and MongoDB as child processes on loopback."""
