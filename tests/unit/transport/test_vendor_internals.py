"""A Faust, mode or aiokafka that changes what the transport reaches into must be read before it is trusted."""

from __future__ import annotations

import hashlib
import inspect
from importlib.metadata import version
from pathlib import Path
from typing import Any

import faust
import pytest
from aiokafka import AIOKafkaConsumer
from aiokafka.conn import AIOKafkaConnection
from aiokafka.consumer import fetcher, group_coordinator, subscription_state
from faust.app.base import App
from faust.serializers.codecs import raw
from faust.tables.recovery import Recovery
from faust.transport import consumer as stock
from faust.transport.drivers import aiokafka as driver
from faust.types.tuples import Message
from mode.threads import MethodQueue, QueueServiceThread, ServiceThread, WorkerThread
from mode.utils.text import want_bytes

from streamapp.transport import consumer, producer, transport
from streamapp.transport import fetcher as transport_fetcher

#: What we override or call, why its body matters, and the hash of the source that was read.
READ = {
    # The drain loop serves batches and single records: its gap test, its commit and its cancellation.
    stock.Consumer._drain_messages: "44a2500309e8",
    # Replaced: generation, flow and active partitions are checked as here.
    stock.Consumer.getmany: "4b168d84882a",
    stock.Consumer._wait_next_records: "6218e1969a63",
    stock.Consumer._add_gap: "4df2573ded7c",
    stock.Consumer.ack: "5fcf41cf4515",
    stock.Consumer.on_buffer_drop: "4b57e8a418d5",
    stock.Consumer._get_active_partitions: "b24897f3c7af",
    # The way of a commit: which partitions, which offset, and what is remembered of one that failed.
    stock.Consumer.commit: "a354437baaa0",
    stock.Consumer.maybe_wait_for_commit_to_finish: "d687f63a0b5e",
    stock.Consumer.commit_and_end_transactions: "892377824b11",
    stock.Consumer.force_commit: "cc094614d22c",
    stock.Consumer._commit_tps: "a20e230b05ae",
    stock.Consumer._filter_committable_offsets: "dc5e9baf5d99",
    stock.Consumer._filter_tps_with_pending_acks: "f6f923977423",
    stock.Consumer._new_offset: "1d2c7ea89a7a",
    stock.Consumer._should_commit: "5ce941793947",
    stock.Consumer._commit_offsets: "1a6979904118",
    driver.AIOKafkaConsumerThread._commit: "932852ce7a23",
    # Coming and leaving: what Faust forgets, and when.
    stock.Consumer.perform_seek: "0e8c130ff4b0",
    stock.Consumer.on_partitions_revoked: "d04b7ae72c6f",
    stock.Consumer.on_partitions_assigned: "29ce96596f05",
    stock.Consumer.stop_flow: "cf7e875a2b0d",
    stock.Consumer.resume_flow: "db59630f25b5",
    stock.Consumer.wait_empty: "e4662fe24f09",
    stock.Consumer._clean_unacked_messages: "11be2587e71c",
    stock.Consumer.on_stop: "45b1d2210ce2",
    App._stop_consumer: "55854a5de12c",
    App._consumer_wait_empty: "6bc313c48c06",
    App._on_partitions_revoked: "d5c895bbe57d",
    App._on_partitions_assigned: "de932b7927db",
    Recovery._resume_streams: "d986a6710c1a",
    # Messages, and the thread that is none.
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
    # aiokafka: who notices a dead coordinator, what a fetch takes, when a member counts as idle,
    # and that the fetcher is made at the start, with the isolation level that the consumer has then.
    AIOKafkaConsumer.start: "2f1ba7044332",
    AIOKafkaConsumer.getmany: "bc6d248e42a4",
    fetcher.Fetcher.fetched_records: "be4348896b9b",
    fetcher.Fetcher._create_fetch_waiter: "61d840568746",
    fetcher.Fetcher._notify: "d3a30d94f34f",
    fetcher.Fetcher._get_actions_per_node: "1dab2cf937d1",
    fetcher.FetchResult.getall: "3e717e30de50",
    fetcher.PartitionRecords._unpack_records: "b803e6d46480",
    fetcher.PartitionRecords._consumer_record: "e668541600b0",
    group_coordinator.GroupCoordinator.check_errors: "ba6ca51ad348",
    group_coordinator.GroupCoordinator.commit_offsets: "5cbe31af28d6",
    group_coordinator.GroupCoordinator.ensure_active_group: "33c84c1a9301",
    group_coordinator.GroupCoordinator._push_error_to_user: "743ff515bd7e",
    group_coordinator.GroupCoordinator._heartbeat_routine: "61d010289522",
    group_coordinator.GroupCoordinator.request_rejoin: "f70a261c91c3",
    subscription_state.SubscriptionState.fetch_context: "ff2a654dca23",
    subscription_state.TopicPartitionState: "2b83334afadf",
    # What a reset connection raises, and how one is closed.
    AIOKafkaConnection.send: "5909ea32f4ef",
    AIOKafkaConnection._send_sasl_token: "7a3d948fc526",
    AIOKafkaConnection.close: "28f164aa1e4f",
    # A batch passes Faust's raw codec and value_type=bytes untouched.
    raw: "1427af60d892",
    want_bytes: "17455e93a815",
}

#: Compiled code, read as its source: it tracks messages that the agent has begun, and skips those of old generations.
READ_FILES = {"_cython/streams.pyx": "0041622f4a25", "transport/_cython/conductor.pyx": "dde1f9742678"}


def digest(source: str) -> str:
    """Return a short hash of source code."""
    return hashlib.sha256(source.encode()).hexdigest()[:12]


def changed(what: str) -> str:
    """Return what to do about a change."""
    versions = ", ".join(f"{name} {version(name)}" for name in ("faust-streaming", "mode-streaming", "aiokafka"))
    return (
        f"{what} differs from the version that streamapp/transport was written for (installed: {versions})."
        " Read the new version, check that the transport still works with it,"
        " run tests/integration/test_transport.py, and enter the new hash here."
    )


@pytest.mark.parametrize("thing", READ, ids=lambda thing: f"{thing.__module__}.{thing.__qualname__}")
def test_source_is_the_one_that_was_read(thing: Any) -> None:
    """The body of everything that the transport overrides or relies on is known."""
    assert digest(inspect.getsource(thing)) == READ[thing], changed(f"{thing.__module__}.{thing.__qualname__}")


@pytest.mark.parametrize("name", READ_FILES)
def test_compiled_source_is_the_one_that_was_read(name: str) -> None:
    """The compiled parts of Faust's path from consumer to agent are known."""
    source = (Path(faust.__file__).parent / name).read_text(encoding="utf-8")

    assert digest(source) == READ_FILES[name], changed(name)


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (consumer.BatchConsumer, driver.Consumer),
        (producer.BoundedProducer, driver.Producer),
        (transport.BatchTransport, driver.Transport),
        (transport_fetcher.BatchFetcher, driver.AIOKafkaConsumerThread),
    ],
)
def test_every_override_is_watched(ours: type, theirs: type) -> None:
    """A method that is overridden stands in the list above, so that a change of the stock one is noticed."""
    overridden = {name for name, value in vars(ours).items() if inspect.isfunction(value) and hasattr(theirs, name)}
    watched = {thing.__qualname__.rpartition(".")[2] for thing in READ}

    assert overridden - {"__init__"} - watched == set()
