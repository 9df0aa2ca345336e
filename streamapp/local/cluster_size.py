"""The numbers of Kafka brokers and mongods: fixed by the first start on a data folder."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from streamapp.errors import BackendError

#: Odd: an even number survives no more losses than the odd number below it. MongoDB has at most seven voting members.
SIZES = (1, 3, 5, 7)
#: Name of MongoDB's replica set.
REPLICA_SET = "rs0"


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterSize:
    """Numbers of Kafka brokers and of mongods."""

    brokers: int = 1
    mongods: int = 1

    def __str__(self) -> str:
        return f"--brokers {self.brokers} --mongods {self.mongods}"


def choose(data_dir: Path, *, brokers: int | None, mongods: int | None) -> ClusterSize:
    """Return the size to start with; None means that of the data folder, 1 for a new one.

    Raises:
        BackendError: the data folder has another size.
    """
    found = _read(data_dir)
    default = found or ClusterSize()
    wanted = ClusterSize(brokers=brokers or default.brokers, mongods=mongods or default.mongods)
    if found not in {None, wanted}:
        raise BackendError(
            f"The data folder {data_dir} was created with `{found}`, and the number of members cannot be changed later."
            f" Start it with `{found}`, or choose another --data-dir for `{wanted}`."
        )
    return wanted


def save(data_dir: Path, size: ClusterSize) -> None:
    """Save the size for later starts."""
    _file(data_dir).write_text(json.dumps(asdict(size)), encoding="utf-8")


def folder(data_dir: Path, kind: str, number: int) -> Path:
    """Return the folder of a member's data; the first member has that of a single server."""
    return data_dir / (kind if number == 1 else f"{kind}-{number}")


def title(name: str, number: int, of: int) -> str:
    """Return the name of a member in messages."""
    return name if of == 1 else f"{name} {number} of {of}"


def _read(data_dir: Path) -> ClusterSize | None:
    try:
        return ClusterSize(**json.loads(_file(data_dir).read_text(encoding="utf-8")))
    except (FileNotFoundError, ValueError, TypeError):
        # A data folder of an earlier version has no such file; it has one server of each kind.
        return ClusterSize() if folder(data_dir, "mongod", 1).exists() else None


def _file(data_dir: Path) -> Path:
    return data_dir / "members.json"
