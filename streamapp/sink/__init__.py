"""One fate for every record of a partition batch."""
