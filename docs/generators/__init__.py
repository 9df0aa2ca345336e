"""What each generated block of the documents says, one module per subject; `docs/generate.py` writes it."""
