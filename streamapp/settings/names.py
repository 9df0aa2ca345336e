"""Names of settings: of their variables, deprecated ones, and those that only the environment may set."""

from __future__ import annotations

PREFIX = "STREAMAPP_"

#: Deprecated names of settings, and the new names. The deprecated names work until version 0.3, with a warning.
RENAMED = {
    "breaker_share": "breaker_failure_ratio",
    "breaker_least_records": "breaker_min_records",
    "event_ahead_seconds": "max_event_lead_seconds",
    "earliest_event_at": "min_event_time",
    "rollups_1m_keep_days": "rollups_1m_retention_days",
    "rollups_10m_keep_days": "rollups_10m_retention_days",
    "rollups_1h_keep_days": "rollups_1h_retention_days",
    "rollups_1d_keep_days": "rollups_1d_retention_days",
}

#: Settings that name programs, or folders of programs. A `.env` may come with a folder of somebody else, and must not
#: decide what runs on this machine.
ENVIRONMENT_ONLY = ("local_cache_dir", "local_kafka_home", "local_java", "local_mongod")


def variable(name: str) -> str:
    """Return the environment variable of a setting."""
    return f"{PREFIX}{name.upper()}"
