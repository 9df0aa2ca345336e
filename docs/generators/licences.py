"""The licences of what is installed with streamapp, from the metadata of the packages."""

from __future__ import annotations

from importlib.metadata import Distribution, distribution
from pathlib import Path

from packaging.requirements import Requirement

from generators.constraints import versions
from generators.markdown import table as markdown_table

LOCKS = Path(__file__).parents[2] / "locks"
_CLASSIFIER = "License :: OSI Approved :: "
#: Longer texts are the licence itself, not its name.
_NAME_LENGTH = 60


def table() -> str:
    """Render each package of the images with its licence and where it is installed."""
    images = {name: _names(LOCKS / f"{name}.lock") for name in ("worker", "dashboard")}
    rows: list[tuple[str, ...]] = []
    for name in sorted(set().union(*images.values())):
        used = ", ".join(image for image, names in images.items() if name in names)
        rows.append((f"`{name}`", licence_of(distribution(name)), used))
    return markdown_table(["package", "licence", "image"], rows)


def licence_of(package: Distribution) -> str:
    """Return the licence that a package declares: its expression, its classifiers, or its field."""
    metadata = package.metadata
    classifiers = [each for each in metadata.get_all("Classifier") or [] if each.startswith(_CLASSIFIER)]
    field = (metadata.get("License") or "").strip()
    candidates = [
        metadata.get("License-Expression"),
        ", ".join(each.removeprefix(_CLASSIFIER) for each in classifiers),
        field if len(field) < _NAME_LENGTH else "",
    ]
    return next((each for each in candidates if each), "not declared")


def _names(lock: Path) -> set[str]:
    packages = map(Requirement, versions(lock))
    return {each.name for each in packages if each.marker is None or each.marker.evaluate()}
