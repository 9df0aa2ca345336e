"""Whether the collection `dead_letters` counts what is in the dead-letter topic."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from streamapp.verify.checks.verdict import Problem


def wrong(
    documents: Iterable[Mapping[str, Any]],
    *,
    least: Mapping[str, int],
    most: Mapping[str, int],
    may_count_others: Callable[[Iterable[str]], bool],
) -> Iterator[Problem]:
    """What is wrong with the documents of the collection.

    Args:
        documents: all of them.
        least: what must be counted, by reason and hour.
        most: what may be.
        may_count_others: whether more may be, by the names of the `offsets` in a document.
    """
    counts: dict[str, Mapping[str, Any]] = {}
    for document in documents:
        if why := _oddity(document):
            yield _problem(f"{document['_id']!r:.100} is none of ours: {why}")
        else:
            counts[document["_id"]] = document
    for key in sorted({*counts, *most}):
        count = counts.get(key, {"n": 0})
        n, low, high = count["n"], least.get(key, 0), most.get(key, 0)
        if n < low or (n > high and not may_count_others(count.get("offsets", {}))):
            name = key if key.isprintable() else ascii(key)
            yield _problem(f"{name:.100} counts {n}, and the topic has {high if n > high else low}")


def _oddity(document: Mapping[str, Any]) -> str | None:
    n = document.get("n")
    if not isinstance(document["_id"], str):
        return "its _id is no text"
    if not isinstance(n, int) or n < 0:
        return "its n is no whole number"
    if not isinstance(document.get("offsets", {}), dict):
        return "its offsets have no names"
    return None


def _problem(why: str) -> Problem:
    return Problem("count", None, "", f"dead_letters {why}")
