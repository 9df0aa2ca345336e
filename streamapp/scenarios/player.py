"""Play a scenario: register its schemas, send its events, and check step by step what becomes of them."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, nullcontext
from dataclasses import dataclass, field
from typing import Any, Protocol

from streamapp.connections.kafka import KafkaConnection
from streamapp.connections.registry import RegistryConnection
from streamapp.decode.document import id_of
from streamapp.decode.writer_schema import WriterSchema
from streamapp.errors import BrokerUnavailable, SettingsError, StreamappError
from streamapp.evolution import registering
from streamapp.evolution.registering import RegistrationRefused
from streamapp.kafka.admin import KafkaAdmin
from streamapp.kafka.topic_reader import TopicReader
from streamapp.model.record import Origin
from streamapp.model.user_event import USER
from streamapp.mongodb.client import Mongo, translate_errors
from streamapp.registry.client import RegistryClient
from streamapp.samples import fault_context, generator, sender
from streamapp.samples.faults import FaultContext, Faults
from streamapp.samples.sender import OutgoingRecord, Sender
from streamapp.scenarios import final_check, outcome
from streamapp.scenarios.draws import schedule
from streamapp.scenarios.evolved_schema import EvolvedSchema, evolve
from streamapp.scenarios.final_check import FinalResult
from streamapp.scenarios.outcome import Found, SentRecord
from streamapp.scenarios.scenario import OURS, Scenario, Send, Step
from streamapp.settings import Settings
from streamapp.verify.failure_index import FailureIndex

#: Seconds until the workers must have settled the events of a step.
SETTLE_SECONDS = 60.0
_LOOK_SECONDS = 0.2
#: Seconds between two looks while events are sent.
_LOOK_WHILE_SENDING_SECONDS = 0.5


class Audience(Protocol):
    """What a player reports to."""

    def counted(self, sent: int, fates: Mapping[tuple[str, str], int]) -> None:
        """Receive how many events of the step are sent, and what became of them, by schema and fate."""
        ...


@dataclass(slots=True, kw_only=True)
class StepResult:
    """What a step did."""

    title: str
    #: What was registered or refused, in words.
    registered: str = ""
    sent: int = 0
    #: By schema and fate.
    fates: Mapping[tuple[str, str], int] = field(default_factory=dict[tuple[str, str], int])
    problems: list[str] = field(default_factory=list[str])
    #: Whether the following steps cannot be done.
    is_last: bool = False


class StepFailed(StreamappError):  # noqa: N818 - named by what happened
    """A step cannot be done, so the following ones cannot either; `StepResult.is_last` says so."""


class Player:
    """Plays the steps of one scenario, in order.

    Args:
        settings: the pipeline.
        scenario: the lesson.
        seed: repeats values and order of the events.
        mongo: the database of the workers.
    """

    def __init__(self, settings: Settings, scenario: Scenario, *, seed: int, mongo: Mongo) -> None:
        self._settings = settings
        self._seed = seed
        self._mongo = mongo
        self._source = random.Random(f"scenario {seed}")  # noqa: S311 - sample data
        self._samples = generator.samples(seed=seed, v2_ratio=1.0)
        self._schemas = evolve(scenario.schemas)
        self._scenario = scenario
        self._writers: dict[str, WriterSchema] = {}
        self._connection = KafkaConnection.of(settings)
        self._topic_id = ""
        self._failures = FailureIndex()
        self.sent: list[SentRecord] = []

    def prepare(self) -> None:
        """Create the topics, and register the schemas of this repository where they are missing.

        Raises:
            SettingsError: the settings forbid to register a schema, or Kafka gives topics no id.
        """
        ours, _ = asyncio.run(sender.prepare(self._settings, {}))
        self._writers |= {name: ours[version] for name, version in OURS.items()}
        topic_id = asyncio.run(KafkaAdmin(self._connection).topic_id_of(self._settings.topic))
        if topic_id is None:
            raise SettingsError(
                "A scenario finds its events by the topic id; this Kafka is older than 2.8 and has none"
            )
        self._topic_id = topic_id

    def missing(self) -> Sequence[tuple[str, str]]:
        """Return each schema that the scenario would register and the registry lacks, with its subject."""
        return asyncio.run(self._missing())

    async def _missing(self) -> Sequence[tuple[str, str]]:
        wanted = [*((name, None) for name in OURS), *self._scenario.registrations()]
        found: list[tuple[str, str]] = []
        for name, under in wanted:
            with closing(self._registry(under)) as registry:
                if await registry.find_version(self._schemas[name].json) is None:
                    found.append((name, registry.subject))
        return found

    def play(self, step: Step, speed: float, audience: Audience) -> StepResult:
        """Do a step, and check what becomes of its events.

        Raises:
            Transient: a server does not answer.
        """
        result = StepResult(title=step.title)
        try:
            self._play(step, speed, audience, result)
        except StepFailed as exc:
            result.problems.append(str(exc))
            result.is_last = True
        return result

    def verify(self) -> FinalResult:
        """Check that nothing of the topic is lost or double; raises Transient."""
        return final_check.verify(self._settings, self._mongo, self.sent)

    def _play(self, step: Step, speed: float, audience: Audience, result: StepResult) -> None:
        if step.register_ is not None:
            result.registered = asyncio.run(self._register(step, self._schemas[step.register_]))
        time.sleep(step.wait_seconds)
        if step.send is not None:
            sent = self._send(step.send, speed, audience)
            result.sent = len(sent)
            found = self._settled(sent, audience)
            result.fates = outcome.fates(sent, found)
            if all(fate == outcome.LOST for _, fate in result.fates):
                raise StepFailed(
                    f"none of the events is stored or dead-lettered after {SETTLE_SECONDS:g} s: start a worker"
                    " (`streamapp worker`), or let `streamapp doctor` find what is wrong"
                )
            versions = {name: writer.version for name, writer in self._writers.items()}
            result.problems += outcome.problems(step.expect, sent, found, versions)

    # Registration

    async def _register(self, step: Step, schema: EvolvedSchema) -> str:
        with closing(self._registry(step.under)) as registry:
            plan = await registering.plan(registry, schema.named)
            if step.refused and plan.verdict.is_compatible:
                raise StepFailed(
                    f"{schema.name} is compatible with {registry.subject} under {plan.verdict.mode}, so the registry"
                    " would not refuse it, as the scenario announces. Nothing was registered."
                )
            try:
                schema_id, version = await registering.register(registry, schema.named)
            except RegistrationRefused as exc:
                if step.refused:
                    return f"The registry refuses {schema.name}: {_reasons(plan)}"
                raise StepFailed(f"{exc}. {_reasons(plan)}") from exc
            if step.refused:
                raise StepFailed(f"the registry accepts {schema.name} as {version} of {registry.subject}")
        await self._know(schema, schema_id)
        return f"{schema.name} is {version} of {registry.subject}, id {schema_id}"

    async def _know(self, schema: EvolvedSchema, schema_id: int) -> None:
        """Remember the version that the workers see, which is the one under the subject of the topic."""
        with closing(self._registry(None)) as registry:
            writer = await registry.look_up(schema_id)
        if writer is None:
            raise StepFailed(f"the registry has no schema {schema_id}, which it has just registered")
        self._writers[schema.name] = writer

    def _registry(self, under: str | None) -> RegistryClient:
        subject = self._settings.subject if under is None else f"{self._settings.subject}-{under}"
        return RegistryClient(RegistryConnection.of(self._settings), subject)

    # Sending

    def _send(self, send: Send, speed: float, audience: Audience) -> Sequence[SentRecord]:
        sent: list[SentRecord] = []
        names = [*self._writers]

        def on_acknowledged(record: OutgoingRecord, partition: int, offset: int) -> None:
            event_id = id_of(Origin(self._settings.topic, partition, offset, -1, self._topic_id))
            sent.append(SentRecord(event_id, names[record.version], record.fault, partition, offset))

        producer = sender.new_producer(self._connection, reports_all=True)
        sending = Sender(producer, self._settings.topic, on_acknowledged=on_acknowledged)
        context = asyncio.run(self._fault_context(send))
        records = self._records(send, names, context)
        sending.send(_paced(records, send, speed, self._observer(sent, audience)), deferred=nullcontext())
        sending.flush()
        if sending.counts.unacknowledged:
            raise BrokerUnavailable(f"{sending.counts.unacknowledged} events were not acknowledged")
        self.sent += sent
        return sent

    def _observer(self, sent: Sequence[SentRecord], audience: Audience) -> Callable[[int], None]:
        """Return a function that reports the number of events sent, and from time to time what became of them."""
        look_at, fates = time.monotonic(), outcome.fates([], Found({}, {}))

        def observe(count: int) -> None:
            nonlocal look_at, fates
            if time.monotonic() >= look_at:
                fates = outcome.fates(sent, Found(self._documents(sent), {}))
                look_at = time.monotonic() + _LOOK_WHILE_SENDING_SECONDS
            audience.counted(count, fates)

        return observe

    async def _fault_context(self, send: Send) -> FaultContext:
        ours = dict(enumerate(self._writers.values()))
        with closing(self._registry(None)) as registry:
            return await fault_context.prepare(send.faults, settings=self._settings, registry=registry, ours=ours)

    def _records(self, send: Send, names: Sequence[str], context: FaultContext) -> Iterator[OutgoingRecord]:
        """Yield the records; in place of a version they have the position of their schema."""
        faults = Faults(send.faults, seed=self._seed, context=context)
        write = {name: self._schemas[name].writer(self._writers[name].schema_id) for name in send.mix}
        for name in schedule(send.events, send.mix, self._source):
            sample, fault = next(self._samples), faults.draw()
            event = sample.event(at=faults.event_time(fault, int(time.time() * 1000)))
            event = self._schemas[name].adapt(event, self._source)
            record = OutgoingRecord(
                key=str(sample.fields[USER]),
                value=write[name](event),
                version=names.index(name),
                event=event,
                fault=fault,
                headers=self._headers(send, name),
            )
            yield from sender.with_fault(record, faults)

    def _headers(self, send: Send, name: str) -> sender.Headers:
        values = send.headers.get(name, {}).items()
        return [
            (header, (each if isinstance(each, str) else self._source.choice(each)).encode()) for header, each in values
        ]

    # What became of the events

    def _settled(self, sent: Sequence[SentRecord], audience: Audience) -> Found:
        """Wait until the workers have settled the records."""
        give_up_at = time.monotonic() + SETTLE_SECONDS
        with TopicReader(self._connection, self._settings.dead_letter_topic, group=self._settings.app_id) as letters:
            while True:
                found = self._found(sent, letters)
                fates = outcome.fates(sent, found)
                audience.counted(len(sent), fates)
                if not any(fate == outcome.LOST for _, fate in fates) or time.monotonic() > give_up_at:
                    return found
                time.sleep(_LOOK_SECONDS)

    def _found(self, sent: Sequence[SentRecord], letters: TopicReader) -> Found:
        documents = self._documents(sent)
        if len(documents) < len(sent):
            self._failures.read(letters)
        return Found(documents, {id_: failure.reason for id_, failure in self._failures.by_event_id.items()})

    def _documents(self, sent: Sequence[SentRecord]) -> Mapping[str, Mapping[str, Any]]:
        wanted = {"_id": {"$in": [record.event_id for record in sent]}}
        return translate_errors(lambda: {each["_id"]: each for each in self._mongo.primary["events"].find(wanted)})


def _reasons(plan: registering.Plan) -> str:
    return "; ".join(f"{each.path or 'the schema'}: {each.message}" for each in plan.verdict.problems)


def _paced(
    records: Iterable[OutgoingRecord], send: Send, speed: float, advance: Callable[[int], None]
) -> Iterator[OutgoingRecord]:
    """Yield each record when it is due."""
    began, interval = time.monotonic(), send.seconds / send.events / speed
    for index, record in enumerate(records):
        if (wait := began + index * interval - time.monotonic()) > 0:
            time.sleep(wait)
        advance(index + 1)
        yield record
