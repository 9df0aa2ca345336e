"""The page: reads MongoDB only."""
