"""What operators and the dashboard learn about a worker."""
