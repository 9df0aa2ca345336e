"""How many Kafka brokers and mongods there are: fixed by the first start on a folder of data."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from streamapp.errors import BackendError

#: Odd, since an even number survives no more losses than the odd one below it; MongoDB has at most seven voters.
NUMBERS = (1, 3, 5, 7)


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """Number of members of each kind."""

    brokers: int = 1
    mongods: int = 1

    def __str__(self) -> str:
        return f"--brokers {self.brokers} --mongods {self.mongods}"


def sized(data_dir: Path, *, brokers: int | None, mongods: int | None) -> Size:
    """Return the size of a folder's cluster, where None takes what the folder has, else 1.

    Raises:
        BackendError: the folder holds the data of another number.
    """
    found = _read(data_dir)
    default = found or Size()
    wanted = Size(brokers=brokers or default.brokers, mongods=mongods or default.mongods)
    if found not in {None, wanted}:
        raise BackendError(
            f"{data_dir} holds the data of a cluster made with `{found}`, and its number of members cannot be changed:"
            f" start it so, or choose another --data-dir for `{wanted}`."
        )
    return wanted


def keep(data_dir: Path, size: Size) -> None:
    """Note for later starts how many there are."""
    _file(data_dir).write_text(json.dumps(asdict(size)), encoding="utf-8")


def folder(data_dir: Path, kind: str, number: int) -> Path:
    """Return where a member keeps its data; the first one as if it were alone."""
    return data_dir / (kind if number == 1 else f"{kind}-{number}")


def title(name: str, number: int, of: int) -> str:
    """Return what people call a member."""
    return name if of == 1 else f"{name} {number} of {of}"


def _read(data_dir: Path) -> Size | None:
    try:
        return Size(**json.loads(_file(data_dir).read_text(encoding="utf-8")))
    except (FileNotFoundError, ValueError, TypeError):
        # A folder from before there were clusters has data of one each.
        return Size() if folder(data_dir, "mongod", 1).exists() else None


def _file(data_dir: Path) -> Path:
    return data_dir / "members.json"
