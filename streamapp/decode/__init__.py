"""From the bytes of a record to the document that MongoDB stores."""
