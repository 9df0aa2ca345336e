"""The page: it reads MongoDB only."""
