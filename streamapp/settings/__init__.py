"""The settings: read once from the environment and `.env`, validated, immutable."""

from streamapp.settings.model import CONNECTION_SETTINGS, Settings, load, names_in_dotenv
from streamapp.settings.names import ENVIRONMENT_ONLY, PREFIX, RENAMED, variable

__all__ = [
    "CONNECTION_SETTINGS",
    "ENVIRONMENT_ONLY",
    "PREFIX",
    "RENAMED",
    "Settings",
    "load",
    "names_in_dotenv",
    "variable",
]
