"""A local backend whose servers can be made to refuse requests: MongoDB with test commands, Kafka with ACLs."""

from __future__ import annotations

import tempfile
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from streamapp.local import programs
from streamapp.local.backend import Backend
from tests.support.backends import running_backend

# MongoDB aborts the transaction of a killed worker after 60 s by default; until then, other writers wait
# for the documents that it has touched.
MONGOD = """#!/bin/sh
exec {program} "$@" --setParameter enableTestCommands=1 --setParameter transactionLifetimeLimitSeconds=5
"""
# Without an ACL, every operation on a topic is allowed. Compaction runs in the middle of a test.
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
    """Run such a backend on free ports."""
    with tempfile.TemporaryDirectory(prefix="streamapp-faults-") as folder:
        mongod = _script(Path(folder, "mongod"), MONGOD.format(program=programs.mongod(None)))
        java = _script(Path(folder, "java"), JAVA.format(program=programs.java(None)))
        with running_backend(local_mongod=mongod, local_java=java) as backend:
            yield backend


def _script(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    path.chmod(0o755)
    return path
