"""The only modules, besides app.py and serve.py, that import Streamlit."""
