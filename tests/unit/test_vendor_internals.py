"""streamapp uses private parts of Faust, mode, aiokafka, fastavro, PyMongo and jgo: a test fails when one changes."""

from __future__ import annotations

import hashlib
import inspect
import io
import sys
from collections.abc import Mapping
from importlib import import_module
from importlib.metadata import packages_distributions, version
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Never

import bson
import fastavro
import fastavro.read
import faust
import mode
import pytest
from aiohttp import web
from aiohttp.web_protocol import RequestHandler
from aiokafka import AIOKafkaConsumer
from aiokafka.client import AIOKafkaClient
from aiokafka.conn import AIOKafkaConnection
from aiokafka.consumer import fetcher, group_coordinator, subscription_state
from bson.raw_bson import RawBSONDocument
from fastavro import _read_py
from faust.agents.agent import Agent
from faust.app import base
from faust.cli.worker import worker
from faust.serializers.codecs import Codec, raw
from faust.tables.manager import TableManager
from faust.tables.recovery import Recovery
from faust.transport import consumer
from faust.transport.conductor import Conductor
from faust.transport.drivers import aiokafka as driver
from faust.types.tuples import Message
from faust.web import base as web_base
from faust.web.drivers import aiohttp as web_driver
from jgo.maven import Artifact, Component, MavenContext, PythonResolver
from mode.threads import MethodQueue, QueueServiceThread, ServiceThread, WorkerThread
from mode.utils.text import want_bytes
from pymongo import ssl_support

from streamapp.local.download import CheckedResolver
from streamapp.transport import consumer as batch_consumer
from streamapp.transport import fetcher as batch_fetcher
from streamapp.transport import prefix_commits, transport
from streamapp.transport import producer as bounded_producer
from streamapp.transport.faust_codec import FaustCodec
from streamapp.worker import web as bounded_web
from streamapp.worker.app import App
from streamapp.worker.no_tables import NoTables
from streamapp.worker.shutdown import BoundedWorker

#: What streamapp/transport overrides or calls, why its body matters, and the hash of the source that was reviewed.
TRANSPORT = {
    # The drain loop serves batches and single records: gap test, commit, cancellation.
    consumer.Consumer._drain_messages: "44a2500309e8",
    # Replaced; the replacement checks generation, flow and active partitions in the same way.
    consumer.Consumer.getmany: "4b168d84882a",
    consumer.Consumer._wait_next_records: "6218e1969a63",
    consumer.Consumer._add_gap: "4df2573ded7c",
    consumer.Consumer.ack: "5fcf41cf4515",
    consumer.Consumer.on_buffer_drop: "4b57e8a418d5",
    consumer.Consumer._get_active_partitions: "b24897f3c7af",
    # Commits: which partitions, which offsets, and what is kept of a commit that failed.
    consumer.Consumer.commit: "a354437baaa0",
    consumer.Consumer.maybe_wait_for_commit_to_finish: "d687f63a0b5e",
    consumer.Consumer.commit_and_end_transactions: "892377824b11",
    consumer.Consumer.force_commit: "cc094614d22c",
    consumer.Consumer._commit_tps: "a20e230b05ae",
    consumer.Consumer._filter_committable_offsets: "dc5e9baf5d99",
    consumer.Consumer._filter_tps_with_pending_acks: "f6f923977423",
    consumer.Consumer._new_offset: "1d2c7ea89a7a",
    consumer.Consumer._should_commit: "5ce941793947",
    consumer.Consumer._commit_offsets: "1a6979904118",
    driver.AIOKafkaConsumerThread._commit: "932852ce7a23",
    # Assignment and revocation: which state Faust discards, and when.
    consumer.Consumer.perform_seek: "0e8c130ff4b0",
    consumer.Consumer.on_partitions_revoked: "d04b7ae72c6f",
    consumer.Consumer.on_partitions_assigned: "29ce96596f05",
    consumer.Consumer.stop_flow: "cf7e875a2b0d",
    consumer.Consumer.resume_flow: "db59630f25b5",
    consumer.Consumer.wait_empty: "e4662fe24f09",
    consumer.Consumer._clean_unacked_messages: "11be2587e71c",
    consumer.Consumer.on_stop: "45b1d2210ce2",
    base.App._stop_consumer: "55854a5de12c",
    base.App._consumer_wait_empty: "6bc313c48c06",
    base.App._on_partitions_revoked: "d5c895bbe57d",
    base.App._on_partitions_assigned: "de932b7927db",
    Recovery._resume_streams: "d986a6710c1a",
    # Messages, and the consumer thread, which runs as a task.
    driver.Transport.create_consumer: "46cc2bf5ab14",
    driver.Consumer._to_message: "7c24f6511b2f",
    driver.Consumer._new_consumer_thread: "0870ec53dea7",
    driver.Consumer.verify_event_path: "a17e8f0610e1",
    driver.AIOKafkaConsumerThread._create_worker_consumer: "c2701bfc3e6f",
    driver.AIOKafkaConsumerThread._fetch_records: "39a2c6c79fc1",
    driver.AIOKafkaConsumerThread.seek_to_committed: "775ab0adc4b0",
    driver.AIOKafkaConsumerThread.seek_to_beginning: "bd4250b8d1e7",
    driver.AIOKafkaConsumerThread.seek: "1498560d05f0",
    driver.AIOKafkaConsumerThread.assignment: "61f105132ae6",
    driver.AIOKafkaConsumerThread._ensure_consumer: "ff4a4c693b7e",
    driver.AIOKafkaConsumerThread.on_thread_stop: "8dfc004e258b",
    driver.Producer.flush: "36d0cb3615f6",
    driver.Producer.on_stop: "86799c5ab7b6",
    Message.__init__: "afe1f7597559",
    Message.ack: "4751b72c4ed8",
    WorkerThread: "e213e6b441f9",
    ServiceThread.start: "f11841038a03",
    ServiceThread._serve: "67809eae0957",
    ServiceThread._gather_remaining_tasks: "6f65b92dd101",
    ServiceThread.stop: "32d026539c36",
    QueueServiceThread.call_thread: "479edda75b54",
    MethodQueue._process_enqueued: "d88a086d148c",
    # aiokafka: how errors of the coordinator surface, what a fetch takes, when a member counts as idle,
    # and that start() creates the fetcher, with the isolation level that the consumer has then.
    AIOKafkaConsumer.start: "2f1ba7044332",
    AIOKafkaConsumer.getmany: "bc6d248e42a4",
    fetcher.Fetcher.fetched_records: "be4348896b9b",
    fetcher.Fetcher._create_fetch_waiter: "61d840568746",
    fetcher.Fetcher._notify: "d3a30d94f34f",
    fetcher.Fetcher._get_actions_per_node: "1dab2cf937d1",
    fetcher.FetchResult.check_assignment: "b5340df67e3f",
    fetcher.FetchResult._update_position: "83fb1473bf10",
    fetcher.PartitionRecords.__init__: "8ec1c2ae6ea1",
    fetcher.PartitionRecords._unpack_records: "b803e6d46480",
    fetcher.PartitionRecords._consumer_record: "e668541600b0",
    group_coordinator.GroupCoordinator.check_errors: "ba6ca51ad348",
    group_coordinator.GroupCoordinator.commit_offsets: "5cbe31af28d6",
    group_coordinator.GroupCoordinator.ensure_active_group: "33c84c1a9301",
    group_coordinator.GroupCoordinator._push_error_to_user: "743ff515bd7e",
    group_coordinator.GroupCoordinator._heartbeat_routine: "61d010289522",
    group_coordinator.GroupCoordinator.request_rejoin: "f70a261c91c3",
    group_coordinator.GroupCoordinator.fetch_committed_offsets: "6c049c737916",
    subscription_state.SubscriptionState.fetch_context: "ff2a654dca23",
    subscription_state.TopicPartitionState: "2b83334afadf",
    # Wrapped: fetch responses pass the check of the topic id, which drops topics and asks on the same connections.
    AIOKafkaClient.send: "246b277687d7",
    fetcher.Fetcher._proc_fetch_request: "59bf948fff47",
    # What a reset connection raises, and how a connection is closed.
    AIOKafkaConnection.send: "5909ea32f4ef",
    AIOKafkaConnection._send_sasl_token: "7a3d948fc526",
    AIOKafkaConnection.close: "28f164aa1e4f",
    # A batch passes Faust's raw codec and value_type=bytes unchanged.
    raw: "1427af60d892",
    want_bytes: "17455e93a815",
}

#: The same for streamapp/worker.
WORKER = {
    # Replaced: the same services in another order.
    base.BootStrategy.server: "97e47ea1dec3",
    base.App._create_directories: "a9f571c3b04a",
    # Replaced, without its pause; what it starts.
    TableManager.on_start: "365dd25fbc0e",
    TableManager._update_channels: "88e3941facc9",
    Recovery.on_rebalance: "aa4d997a1795",
    Conductor._subscriber.fun: "2a7908583404",
    # Fills Agent._actors and each actor's task, by which /readyz tells whether the agent runs; empties it.
    Agent._prepare_actor: "9b1435b6ba90",
    Agent.on_stop: "aa6a7463a907",
    # Every signal passes _schedule_shutdown; the worker adds its deadline there.
    mode.Worker._on_sigint: "25334ac514b2",
    mode.Worker._on_sigterm: "6b99528ef557",
    mode.Worker._schedule_shutdown: "1a6a5dfc88c2",
    mode.Worker.execute_from_commandline: "212e98f635d7",
    # Where the worker says that it is ready; reads `spinner` and `_shutdown_immediately`.
    faust.Worker.__init__: "25a4d782432f",
    faust.Worker.on_startup_finished: "60faa1ca4af7",
    faust.Worker._on_startup_end_spinner: "20b46463df39",
    worker.on_worker_created: "ea70b48f55a6",
    worker._banner_data: "b853db711e96",
    # The web server: where its runner is made and used, and which pages of Faust are registered.
    base.App._new_web: "9558ffdcacfa",
    web_driver.Web.__init__: "52b00c1bd653",
    web_driver.Web.start_server: "b0c4f1049182",
    web_base.Web._enabled_blueprints: "0a5b53f233d4",
    web.AppRunner._make_server: "2d5358865abd",
    web.Application._make_handler: "63e4c1bdd0e8",
    web.Application._make_request: "e59bd224e5f8",
    web.Server.__init__: "ceb06418afb9",
    web.Server.__call__: "c5700549e688",
    # A connection: when it opens and ends, what is answered and logged, and when `_request_in_progress` is set.
    RequestHandler.connection_made: "44d50b5763b2",
    RequestHandler.connection_lost: "df2fe6e95fd0",
    RequestHandler.force_close: "38d0e1e798e4",
    RequestHandler.start: "2e565fd40c8e",
    RequestHandler._handle_request: "a88a34ee65a2",
    RequestHandler.finish_response: "b7eb53db8f4b",
    RequestHandler.handle_error: "94962ffef500",
    RequestHandler.log_exception: "cece6fbeb483",
    web.Request._prepare_hook: "7a5763052879",
    web.StreamResponse._start: "7e03ebd82e7f",
    # FaustCodec overrides _loads and _dumps; clones are made from its keyword arguments.
    Codec.__init__: "eb50b4f5080f",
    Codec._loads: "02974d34db2b",
    Codec._dumps: "3efd56bca4bc",
    Codec.clone: "bec449655231",
}

#: The same for streamapp/decode: the reader of recursive schemas, and where it calls logical readers.
DECODE = {
    _read_py.schemaless_reader: "e334055a2c86",
    _read_py.read_data: "1b3612810fb0",
}

#: The same for streamapp/local: how jgo resolves artifacts, and where it calls `download`.
LOCAL = {
    PythonResolver.__init__: "8f1fb8bbd7b7",
    PythonResolver.download: "231f61f1394e",
    PythonResolver.resolve: "5017bb01e607",
    MavenContext.__init__: "22985cec8729",
    Artifact.resolve: "ceff36bf2db5",
    Artifact.cached_path.fget: "b0785891fe0a",
    Artifact.filename.fget: "08c444d27eac",
    Component.path_prefix.fget: "16a2e2193b95",
}

#: Package of streamapp → what was reviewed for it, and the tests that show whether it still works.
REVIEWED = {
    "streamapp/transport": (TRANSPORT, "tests/integration/test_transport.py"),
    "streamapp/worker": (WORKER, "tests/unit/worker tests/e2e/test_outages.py"),
    "streamapp/decode": (DECODE, "tests/unit/decode"),
    "streamapp/local": (LOCAL, "tests/integration/test_local_download.py"),
}

#: Compiled code of Faust, reviewed as its source: it tracks messages that the agent has begun, and skips those of
#: earlier group generations.
COMPILED = {"_cython/streams.pyx": "0041622f4a25", "transport/_cython/conductor.pyx": "dde1f9742678"}


def digest(source: str) -> str:
    """Return a short hash of source code."""
    return hashlib.sha256(source.encode()).hexdigest()[:12]


def installed(thing: Any) -> str:
    """Return the distribution that a thing comes from, and its version."""
    name = packages_distributions()[thing.__module__.partition(".")[0]][0]
    return f"{name} {version(name)}"


def changed(what: str, where: str, package: str, tests: str) -> str:
    """Return what to do about a change."""
    return (
        f"{what} of {where} differs from the version that {package} was written for."
        f" Read the new version, check that {package} still works with it, run {tests}, and enter the new hash here."
    )


@pytest.mark.parametrize(
    ("thing", "expected", "package", "tests"),
    [
        pytest.param(thing, expected, package, tests, id=f"{thing.__module__}.{thing.__qualname__}")
        for package, (things, tests) in REVIEWED.items()
        for thing, expected in things.items()
    ],
)
def test_source_is_the_reviewed_one(thing: Any, expected: str, package: str, tests: str) -> None:
    """The body of everything that streamapp overrides or relies on is known."""
    assert expected == digest(inspect.getsource(thing)), changed(
        f"{thing.__module__}.{thing.__qualname__}", installed(thing), package, tests
    )


@pytest.mark.parametrize("name", COMPILED)
def test_compiled_source_is_the_reviewed_one(name: str) -> None:
    """The compiled parts of Faust between consumer and agent are known."""
    source = (Path(faust.__file__).parent / name).read_text(encoding="utf-8")
    _, tests = REVIEWED["streamapp/transport"]

    assert COMPILED[name] == digest(source), changed(name, installed(faust.App), "streamapp/transport", tests)


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (batch_consumer.BatchConsumer, driver.Consumer),
        (prefix_commits.PrefixCommits, driver.Consumer),
        (bounded_producer.BoundedProducer, driver.Producer),
        (batch_fetcher.BatchFetcher, driver.AIOKafkaConsumerThread),
        (transport.BatchTransport, driver.Transport),
        (BoundedWorker, faust.Worker),
        (FaustCodec, Codec),
        (App, faust.App),
        (NoTables, TableManager),
        (bounded_web.WorkerWeb, web_driver.Web),
        (bounded_web.BoundedRunner, web.AppRunner),
        (bounded_web._Server, web.Server),
        (bounded_web._Connection, RequestHandler),
        (bounded_web._Request, web.Request),
        (CheckedResolver, PythonResolver),
    ],
)
def test_every_overridden_method_is_reviewed(ours: type, theirs: type) -> None:
    """The stock version of each overridden method is in the lists above."""
    overridden = {name for name, value in vars(ours).items() if inspect.isfunction(value) and hasattr(theirs, name)}
    known = {thing.__qualname__.rpartition(".")[2] for things, _ in REVIEWED.values() for thing in things}

    assert overridden - {"__init__"} - known == set()


@pytest.mark.parametrize("read", [fastavro.schemaless_reader, _read_py.schemaless_reader], ids=["compiled", "python"])
def test_fastavro_calls_logical_readers_by_their_registered_name(read: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The name is the primitive type and the logical type; the first argument is the raw value."""
    monkeypatch.setitem(fastavro.read.LOGICAL_READERS, "int-bson-test", lambda data, *_: ("converted", data))
    schema = fastavro.parse_schema({"type": "int", "logicalType": "bson-test"})

    assert ("converted", 7) == read(io.BytesIO(b"\x0e"), schema, None)


class EncodedDocument(Mapping[str, Any]):
    """A document of which PyMongo may use the encoded form only."""

    _type_marker = RawBSONDocument._type_marker

    def __init__(self, raw: bytes) -> None:
        self.raw = raw

    def __getitem__(self, name: str) -> Never:
        raise AssertionError

    def __iter__(self) -> Never:
        raise AssertionError

    def __len__(self) -> int:
        return 1


def test_pymongo_takes_the_encoded_form_of_a_document_with_the_type_marker() -> None:
    """`LazyDocument` relies on it: otherwise PyMongo would decode the fields and encode them again."""
    encoded = bson.encode({"a": 1})

    assert encoded == bson.encode(EncodedDocument(encoded))
    assert {"inner": {"a": 1}} == bson.decode(bson.encode({"inner": EncodedDocument(encoded)}))


@pytest.mark.skipif(find_spec("OpenSSL") is not None, reason="pyOpenSSL is installed, and PyMongo uses it")
def test_pymongo_cannot_use_pyopenssl_anyway(monkeypatch: pytest.MonkeyPatch) -> None:
    """streamapp prevents this import, with which PyMongo would import cryptography before it fails."""
    monkeypatch.delitem(sys.modules, "pymongo.pyopenssl_context", raising=False)

    with pytest.raises(ImportError):
        import_module("pymongo.pyopenssl_context")

    assert not ssl_support.HAVE_PYSSL
