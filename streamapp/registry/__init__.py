"""The schema registry: writer schemas by id, and registration of schemas."""
