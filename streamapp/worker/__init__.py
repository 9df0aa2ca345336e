"""The Faust app and the services it needs."""
