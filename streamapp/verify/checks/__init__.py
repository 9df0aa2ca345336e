"""What decides that a record, a document or a count is right: no server is asked here."""
