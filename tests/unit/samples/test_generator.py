"""Sample events: repeatable, valid, plausible."""

import hashlib
from collections import Counter
from itertools import islice

import fastavro
import pytest

from streamapp.model import event
from streamapp.model.user_event import VERSIONS
from streamapp.samples.generator import Sample, example, samples


def some(count: int, *, seed: int = 7, v2_ratio: float = 0.7) -> list[Sample]:
    """Return the first samples of a seed."""
    return list(islice(samples(seed=seed, v2_ratio=v2_ratio), count))


def test_a_seed_repeats_everything() -> None:
    """Values, versions and order."""
    assert some(500) == some(500)


def test_another_seed_gives_others() -> None:
    """Samples depend on the seed."""
    assert some(50) != some(50, seed=8)


@pytest.mark.parametrize("ratio", [0.0, 0.3, 0.7, 1.0])
def test_the_share_of_later_versions_is_v2_ratio(ratio: float) -> None:
    """Within 2 % over 10,000 events."""
    share = sum(sample.version > 1 for sample in some(10_000, v2_ratio=ratio)) / 10_000

    assert ratio == pytest.approx(share, abs=0.02)


def test_each_sample_fits_its_schema() -> None:
    """It has exactly the fields of its version."""
    for sample in some(200):
        assert fastavro.validate(sample.event(at=1), event.schema(sample.version), strict=True)


@pytest.mark.parametrize("version", VERSIONS)
def test_an_example_is_of_the_wanted_version(version: int) -> None:
    """And the same each time."""
    found = example(version)

    assert found == example(version)
    assert fastavro.validate(found.event(at=1), event.schema(version), strict=True)


@pytest.mark.parametrize("field", ["user_id", "event_type"])
def test_values_are_uneven(field: str) -> None:
    """The most frequent one comes at least three times as often as the median one."""
    counts = sorted(Counter(sample.fields[field] for sample in some(10_000)).values())

    assert counts[-1] >= 3 * counts[len(counts) // 2]


def test_a_seed_gives_the_same_samples_in_every_release() -> None:
    """Events that were sent once can be sent again."""
    samples_of = repr([(sample.version, sample.fields) for sample in some(2_000, seed=1)])

    assert "e298fc5c92965289ee4dafabf811cdbb" == hashlib.md5(samples_of.encode(), usedforsecurity=False).hexdigest()
