"""Compare the counts in the collection `dead_letters` with the dead-letter topic."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from streamapp.verify.checks.result import Problem


def count_problems(
    documents: Iterable[Mapping[str, Any]],
    *,
    least: Mapping[str, int],
    most: Mapping[str, int],
    may_count_others: Callable[[Iterable[str]], bool],
) -> Iterator[Problem]:
    """Yield a problem for each malformed document, and for each count outside its bounds.

    Args:
        documents: all documents of the collection.
        least: lowest correct count by reason and hour.
        most: highest correct count by reason and hour.
        may_count_others: whether a count may exceed its bound, given the keys of the document's `offsets`.
    """
    counts: dict[str, Mapping[str, Any]] = {}
    for document in documents:
        if why := _malformation(document):
            yield _problem(f"{document['_id']!r:.100} was not written by streamapp: {why}")
        else:
            counts[document["_id"]] = document
    for key in sorted({*counts, *most}):
        count = counts.get(key, {"n": 0})
        n, low, high = count["n"], least.get(key, 0), most.get(key, 0)
        if n < low or (n > high and not may_count_others(count.get("offsets", {}))):
            name = key if key.isprintable() else ascii(key)
            yield _problem(f"{name:.100} counts {n} events, but the topic has {high if n > high else low}")


def _malformation(document: Mapping[str, Any]) -> str | None:
    n = document.get("n")
    if not isinstance(document["_id"], str):
        return "_id is not a string"
    if not isinstance(n, int) or n < 0:
        return "n is not a non-negative integer"
    if not isinstance(document.get("offsets", {}), dict):
        return "offsets is not a document"
    return None


def _problem(why: str) -> Problem:
    return Problem("count", None, "", f"dead_letters {why}")
