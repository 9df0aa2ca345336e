"""What tests share: one local backend per run, settings that point at it, and names of their own for every test."""

from __future__ import annotations

import os
import signal
import uuid
from collections.abc import Generator
from typing import Any, Protocol

import pytest
from hypothesis import HealthCheck
from hypothesis import settings as hypothesis_settings
from pymongo import MongoClient
from pymongo.database import Database

from streamapp.local.backend import Backend
from streamapp.settings import PREFIX, Settings
from tests.support.backends import plain_settings, running_backend

# Nobody's own addresses or topics may reach a test; which programs to run here is theirs to say.
KEPT = (f"{PREFIX}FUZZ_", f"{PREFIX}LOCAL_", f"{PREFIX}TEST_")
for name in [name for name in os.environ if name.startswith(PREFIX) and not name.startswith(KEPT)]:
    del os.environ[name]
# A shell that runs this process in the background makes it ignore Ctrl-C, which child processes would inherit.
signal.signal(signal.SIGINT, signal.default_int_handler)
# On a machine that is busy with other work an example takes longer, which is no failure.
hypothesis_settings.register_profile("any-machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
hypothesis_settings.load_profile("any-machine")


class SettingsFactory(Protocol):
    """Makes settings for one test."""

    def __call__(self, backend: Backend | None = None, **changes: Any) -> Settings:
        """Return settings with the test's own topic, group and database, on the shared backend if none is given."""
        ...


@pytest.fixture(scope="session")
def backend() -> Generator[Backend]:
    """Return the backend that all tests of a run share; nobody stops its servers."""
    with running_backend() as backend:
        yield backend


@pytest.fixture(scope="module")
def private_backend() -> Generator[Backend]:
    """Return a backend of the module's own, whose servers its tests may stop, kill, pause and restart."""
    with running_backend() as backend:
        yield backend


@pytest.fixture
def unique_name() -> str:
    """Return a name that no other test uses."""
    return f"test-{uuid.uuid4().hex[:12]}"


@pytest.fixture
def settings_for(request: pytest.FixtureRequest, unique_name: str) -> SettingsFactory:
    """Return the factory of this test's settings."""

    def make(backend: Backend | None = None, **changes: Any) -> Settings:
        addresses = (backend or request.getfixturevalue("backend")).addresses
        values: dict[str, Any] = {
            "kafka_bootstrap_servers": addresses.kafka_bootstrap_servers,
            "schema_registry_url": addresses.schema_registry_url,
            "mongo_uri": addresses.mongo_uri,
            "mongo_database": unique_name,
            "topic": unique_name,
            "app_id": unique_name,
        }
        return plain_settings(**(values | changes))

    return make


@pytest.fixture
def settings(settings_for: SettingsFactory) -> Settings:
    """Return this test's settings on the shared backend."""
    return settings_for()


@pytest.fixture
def database(settings: Settings) -> Generator[Database[Any]]:
    """Return this test's database."""
    client: MongoClient[Any] = MongoClient(settings.mongo_uri.get_secret_value(), tz_aware=True)
    with client:
        yield client[settings.mongo_database]
