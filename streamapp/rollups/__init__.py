"""Exact counts of events per bucket of event time."""
