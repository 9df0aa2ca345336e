"""What the page shows, computed without Streamlit."""
