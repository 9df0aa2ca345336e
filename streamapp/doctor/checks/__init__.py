"""Facts in, findings out: no server is asked here."""
