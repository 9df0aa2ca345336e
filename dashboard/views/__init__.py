"""The only modules, beside app.py, that speak to Streamlit."""
