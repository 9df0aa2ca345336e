"""A scenario as its TOML file describes it: schemas, and steps that register, send and expect."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from streamapp.decode.writer_schema import UNREGISTERED
from streamapp.model.record import Reason
from streamapp.model.user_event import VERSIONS
from streamapp.samples.faults import Fault

#: The schemas of this repository, which every scenario has; they are registered before the first step.
OURS = {f"v{version}": version for version in VERSIONS}
STORED = "stored"
#: Events of one scenario: all of them are checked one by one.
MAX_EVENTS = 100_000

Fraction = Annotated[float, Field(ge=0, le=1)]
Fate = Literal["stored", "unregistered"] | Reason
Name = Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_-]*$")]
Header = Annotated[str, Field(pattern=r"^[A-Za-z0-9._-]+$")]
Text = Annotated[str, Field(min_length=1)]


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class SchemaChange(_Table):
    """A schema, as changes of another one."""

    base: str = Field(description="The schema that is changed: `v1`, `v2`, or a schema above this one.")
    add: Sequence[str] = Field((), description="Fields to add at the end, each in JSON form.")
    remove: Sequence[str] = Field((), description="Names of fields to remove.")
    rename: Mapping[str, str] = Field(
        default_factory=dict, description="Old name → new name. The field gets its old name as an alias."
    )
    change: Mapping[str, str] = Field(
        default_factory=dict, description="Name of a field → its new type in JSON form. It needs a value in `values`."
    )
    values: Mapping[str, Any] = Field(
        default_factory=dict,
        description="Name of a field → its value in events. Of an array, one value is drawn for each event. A field"
        " without a value gets its default.",
    )


class Send(_Table):
    """Events to send."""

    events: int = Field(ge=1, le=MAX_EVENTS, description="How many.")
    seconds: float = Field(gt=0, le=3_600, description="How long sending takes at `--speed 1`.")
    mix: Mapping[str, Fraction] = Field(
        description="Schema → its fraction of the events; the fractions add up to 1, and the numbers are exact."
    )
    headers: Mapping[str, Mapping[Header, str | Annotated[Sequence[str], Field(min_length=1)]]] = Field(
        default_factory=dict,
        description="Schema → name of a header → its value in the records of these events. Of an array, one value is"
        " drawn for each record. The page lists who sends a version by the headers `client` and `client_version`.",
    )
    faults: Mapping[Fault, Fraction] = Field(
        default_factory=dict,
        description="Fault → its fraction of the events: those of `send-sample --faults`, without `foreign-schema`.",
    )


class Expect(_Table):
    """What must be true of the events of a step, besides that each of them has one fate."""

    fate: Mapping[str, Fate] = Field(
        default_factory=dict,
        description="Schema → `stored` (under the version of the schema), `unregistered` (stored, but the subject does"
        " not have the schema), or the reason of a dead letter. Without it: `stored`. An event with a fault becomes"
        " what the fault says.",
    )
    fields: Mapping[str, Sequence[str]] = Field(
        default_factory=dict,
        description="Schema → paths of fields that each of its stored documents has, such as `metadata.device`.",
    )
    late: int = Field(
        default=0, ge=0, description="At least so many stored events happened more than an hour before they were sent."
    )


class Step(_Table):
    """One step of a lesson."""

    title: Text = Field(description="Shown as the heading of the step.")
    say: Text = Field(description="What is done.")
    look: Text = Field(description="What to look at on the page.")
    see: Text = Field(description="What should be seen there.")
    register_: str | None = Field(
        None, alias="register", description="Schema of the file to register before events are sent."
    )
    under: Name | None = Field(
        None, description="Register it under the subject `<subject of the topic>-<under>` instead of the topic's."
    )
    refused: bool = Field(default=False, description="The registry must refuse the schema.")
    wait_seconds: float = Field(
        0,
        ge=0,
        le=60,
        description="Time to wait before events are sent, at any speed: all workers know a new version after 2 s.",
    )
    send: Send | None = Field(None, description="Events to send, see below.")
    expect: Expect = Field(default=Expect(), description="What must be true of them, see below.")
    pause_seconds: float = Field(
        8, ge=0, le=600, description="Time to look at the page before the next step, at `--speed 1`."
    )


class Scenario(_Table):
    """A lesson."""

    title: Text = Field(description="Shown by `scenario list`, and at the start.")
    summary: Text = Field(description="What one learns.")
    schemas: Mapping[Name, SchemaChange] = Field(
        default_factory=dict, description="Schemas besides `v1` and `v2`, which every scenario has."
    )
    steps: Sequence[Step] = Field(min_length=1, description="Played in this order.")

    @property
    def events(self) -> int:
        """Number of events that all steps send, without those that are sent twice."""
        return sum(step.send.events for step in self.steps if step.send)

    def registrations(self) -> Sequence[tuple[str, str | None]]:
        """The schemas that the steps register, each with the `under` of its step; not those that must be refused."""
        return [(step.register_, step.under) for step in self.steps if step.register_ and not step.refused]


#: A place in the file, as keys and positions, and what is wrong there.
Complaint = tuple[Sequence[str | int], str]


def complaints(scenario: Scenario) -> Iterator[Complaint]:
    """Yield what is wrong although each value by itself is right."""
    yield from _of_schemas(scenario)
    known = {*OURS, *scenario.schemas}
    sendable = {*OURS}
    for index, step in enumerate(scenario.steps):
        at = ("steps", index)
        yield from ((at + where, what) for where, what in _of_registration(step, scenario))
        if step.register_ and not step.refused:
            sendable.add(step.register_)
        if not (step.register_ or step.send):
            yield at, "has neither `register` nor `send`"
        if step.send:
            yield from ((at + where, what) for where, what in _of_send(step.send, known, sendable))
        yield from ((at + where, what) for where, what in _of_expectation(step))
    if scenario.events > MAX_EVENTS:
        yield ("steps",), f"send {scenario.events} events; at most {MAX_EVENTS} are possible"


def _of_schemas(scenario: Scenario) -> Iterator[Complaint]:
    before = [*OURS]
    for name, schema in scenario.schemas.items():
        if name in OURS:
            yield ("schemas", name), "is a schema of this repository: choose another name"
        elif schema.base not in before:
            yield ("schemas", name, "base"), f"{schema.base!r} is not a schema above it: {', '.join(before)}"
        before.append(name)


def _of_registration(step: Step, scenario: Scenario) -> Iterator[tuple[tuple[str, ...], str]]:
    if step.register_ in OURS:
        yield ("register",), f"{step.register_} is registered before the first step"
    elif step.register_ is not None and step.register_ not in scenario.schemas:
        yield ("register",), f"{step.register_!r} is not a schema of [schemas]: {', '.join(scenario.schemas) or 'none'}"
    if step.register_ is None and (step.refused or step.under):
        yield ("refused" if step.refused else "under",), "needs `register`"


def _of_send(send: Send, known: set[str], sendable: set[str]) -> Iterator[tuple[tuple[str, ...], str]]:
    for name in send.mix:
        if name not in known:
            yield ("send", "mix"), f"{name!r} is not a schema: {', '.join(sorted(known))}"
        elif name not in sendable:
            yield ("send", "mix"), f"{name!r} is not registered by this step or an earlier one"
    for name in send.headers.keys() - send.mix.keys():
        yield ("send", "headers"), f"the step sends no events of {name!r}"
    if Fault.FOREIGN_SCHEMA in send.faults:
        yield ("send", "faults"), "foreign-schema registers a schema of its own: make a schema of the scenario instead"
    for key, fractions, is_whole in (("mix", send.mix, True), ("faults", send.faults, False)):
        total = sum(fractions.values())
        if total > 1 + 1e-9 or (is_whole and total < 1 - 1e-9):
            yield ("send", key), f"the fractions add up to {total:g}, not to {'1' if is_whole else 'at most 1'}"


def _of_expectation(step: Step) -> Iterator[tuple[tuple[str, ...], str]]:
    sent = step.send.mix if step.send else {}
    for key, named in (("fate", step.expect.fate), ("fields", step.expect.fields)):
        for name in named:
            if name not in sent:
                yield ("expect", key), f"the step sends no events of {name!r}"


def is_stored(fate: str) -> bool:
    """Whether events of this fate are in MongoDB."""
    return fate in {STORED, UNREGISTERED}
