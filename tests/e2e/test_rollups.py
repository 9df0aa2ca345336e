"""`streamapp rollups`, as a user runs it."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

from pymongo.database import Database

from streamapp.settings import Settings
from tests.support import rollup_factory
from tests.support.doubles.dashboard_reader import document
from tests.support.workers import STREAMAPP, run


def test_what_differs_is_told_and_mended(settings: Settings, database: Database[Any]) -> None:
    """Exit code 1 and the rollup's name while something is wrong, 0 before and after; JSON where it is wanted."""
    rollup_factory.insert(database, [document(datetime.now(UTC)) for _ in range(300)])
    right = run(STREAMAPP, "rollups", "check", settings=settings)
    changed = database["rollups_1h"].find_one_and_update({}, {"$inc": {"n": 5}})
    assert changed
    database["rollups_1m"].delete_many({})

    wrong = run(STREAMAPP, "rollups", "check", "--level", "1h", settings=settings)
    mended = run(STREAMAPP, "--json", "rollups", "rebuild", settings=settings)
    again = run(STREAMAPP, "rollups", "check", "--json", settings=settings)

    assert [0, 1, 0, 0] == [done.returncode for done in (right, wrong, mended, again)], wrong.stderr
    assert f"({changed['_id']}): n is {changed['n'] + 5}, and {changed['n']} events are stored" in wrong.stdout
    assert "streamapp rollups rebuild" in wrong.stderr
    assert "rollups_1m" in mended.stdout
    assert json.loads(mended.stdout)["rebuilt"] == len(json.loads(mended.stdout)["differences"]) >= 2
    assert (300, 0) == (json.loads(again.stdout)["events"], json.loads(again.stdout)["different"])
