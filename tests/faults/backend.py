"""A local backend whose servers can be made to refuse: MongoDB with its test commands, Kafka with access rules."""

from __future__ import annotations

import tempfile
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from streamapp.local import programs
from streamapp.local.backend import Backend
from tests.support.backends import running_backend

# By default MongoDB ends the transaction of a worker that was killed in the midst of one after 60 s; others wait for
# the documents that it has touched.
MONGOD = """#!/bin/sh
exec {program} "$@" --setParameter enableTestCommands=1 --setParameter transactionLifetimeLimitSeconds=5
"""
# Without a rule for it, everybody may do everything with a topic. Compaction comes in the middle of a test.
JAVA = """#!/bin/sh
case " $* " in
*" kafka.Kafka "*)
    set -- "$@" --override authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer
    set -- "$@" --override allow.everyone.if.no.acl.found=true
    set -- "$@" --override log.cleaner.backoff.ms=500 ;;
esac
exec {program} "$@"
"""


@contextmanager
def fault_backend() -> Generator[Backend]:
    """Run one on free ports."""
    with tempfile.TemporaryDirectory(prefix="streamapp-faults-") as folder:
        mongod = _script(Path(folder, "mongod"), MONGOD.format(program=programs.mongod(None)))
        java = _script(Path(folder, "java"), JAVA.format(program=programs.java(None)))
        with running_backend(local_mongod=mongod, local_java=java) as backend:
            yield backend


def _script(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    path.chmod(0o755)
    return path
