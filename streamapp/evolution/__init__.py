"""Schemas from files, Git and the registry, and what is stored of each."""
