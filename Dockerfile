# One image for the worker and the dashboard: `docker build --tag streamapp .`
FROM python:3.11.14-slim-bookworm

ENV PYTHONUNBUFFERED=1
RUN useradd --create-home --uid 10001 streamapp

WORKDIR /opt/streamapp
COPY pyproject.toml README.md requirements.lock ./
COPY schemas schemas
COPY streamapp streamapp
COPY dashboard dashboard
RUN pip install --no-cache-dir -c requirements.lock .

# Faust and Streamlit write into the working folder and the home folder.
USER streamapp
WORKDIR /home/streamapp

STOPSIGNAL SIGTERM
CMD ["streamapp", "worker"]
