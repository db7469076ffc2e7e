"""What the supervisor does with what its children say, in any order: the real one, with children of this test.

All workers take a policy or none does; a policy that was given up never comes in by the back door.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from mailguard import metrics
from mailguard.channel import Kind, Message
from mailguard.config import Settings
from mailguard.smtp import shared_counts
from mailguard.snapshot import Snapshot
from mailguard.supervisor import child, reload, supervisor
from mailguard.supervisor.child import Child, Role, State, launch
from mailguard.supervisor.crew import Policy
from mailguard.supervisor.failures import StartFailed
from mailguard.supervisor.reactor import Reactor
from mailguard.supervisor.reload import Outcome
from mailguard.supervisor.supervisor import Resources, Supervisor
from mailguard.supervisor.systemd import Notifier

SETTINGS: dict[str, Any] = {
    "hostname": "mx.example.com",
    "relay_domains": ["example.com"],
    "listen": [{"address": "127.0.0.1:0"}],
    "backends": [{"address": "127.0.0.1:1"}],
    "policy": "/nowhere/policy.yaml",
    "workers": 2,
}


class Actor:
    """A child that says what the test has it say."""

    def __init__(
        self,
        _reactor: Reactor,
        role: Role,
        _arguments: Sequence[str],
        heard: Callable[[Any, Message], None],
        ended: Callable[[Any], None],
        slot: int = -1,
        generation: int = 0,
    ) -> None:
        self.role, self.slot, self.generation = role, slot, generation
        self._heard, self._ended = heard, ended
        self.state = State.STARTING
        self.started = self.last_heard = 0.0
        self.said: dict[str, Any] = {}
        self.failure: tuple[int, str] | None = None
        self.killed = ""
        self.pid = 1
        self.sent: list[tuple[Kind, dict[str, Any]]] = []

    def send(self, kind: Kind, _descriptors: Sequence[int] = (), **fields: Any) -> None:
        self.sent.append((kind, fields))

    def told(self, kind: Kind) -> list[int]:
        """The numbers of policies in all that it was told of this kind."""
        return [fields["policy"] for sent, fields in self.sent if sent is kind]

    def says(self, kind: Kind, descriptors: tuple[int, ...] = (), **fields: Any) -> None:
        self.said.update(fields)
        self._heard(self, Message(kind, fields, descriptors))

    def kill(self, why: str) -> None:
        self.killed = self.killed or why
        self.ends()

    def ends(self) -> None:
        if self.state is not State.ENDED:
            self.state = State.ENDED
            self._ended(self)

    def how_it_ended(self) -> str:
        return self.killed


class Cast:
    """A supervisor of two workers that serve policy 1, and all its children, the dead too."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.children: list[Actor] = []

        def made(*arguments: Any) -> Actor:
            self.children.append(Actor(*arguments))
            return self.children[-1]

        monkeypatch.setattr(supervisor, "Child", made)
        monkeypatch.setattr(reload, "Child", made)
        self.now = 0.0
        self.reactor = Reactor(lambda: self.now)
        settings = Settings.model_validate(SETTINGS)
        port = SimpleNamespace(fileno=lambda: 0, getsockname=lambda: ("127.0.0.1", 25))
        sockets: Any = SimpleNamespace(
            smtp=[port], admin=port, ours=True, listen=lambda _settings: None, stop=lambda: None
        )
        resources = Resources(sockets, folder, shared_counts.create(4), 4)
        self.supervisor = Supervisor(folder, settings, lambda given: given, resources, self.reactor, Notifier({}, 1))
        self.supervisor.hatch()
        self.supervisor.begin(policy())
        for worker in self.workers:
            worker.says(Kind.READY, policy=1)

    @property
    def workers(self) -> list[Actor]:
        return [each for each in self.children if each.role is Role.WORKER and each.state is not State.ENDED]

    def reload(self, *, force: bool = False) -> tuple[Actor, list[Outcome]]:
        """Ask for one; its loader, and what is answered."""
        answers: list[Outcome] = []
        self.supervisor.reload(force=force, done=answers.append)
        return self.children[-1], answers

    def loaded(self, loader: Actor, name: str) -> None:
        """What ``loader`` read is a policy of this name."""
        settings = Settings.model_validate(SETTINGS).model_dump(mode="json")
        fields: dict[str, Any] = {"path": name, "digest": 64 * "a", "warnings": [], "sources": []}
        descriptor = Snapshot().descriptor()
        loader.says(Kind.LOADED, (descriptor,), settings=settings, version=supervisor.__version__, **fields)
        loader.ends()


def policy() -> Policy:
    return Policy(1, Snapshot().descriptor(), "first", 64 * "1", 0.0)


@pytest.fixture
def stage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Cast]:
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)}
    made = Cast(tmp_path, monkeypatch)
    yield made
    made.reactor.close()
    for number, action in before.items():
        signal.signal(number, action)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)


def test_when_all_have_compiled_it_all_take_it(stage: Cast) -> None:
    first, second = stage.workers
    loader, answers = stage.reload()
    stage.loaded(loader, "new")
    (number,) = first.told(Kind.PREPARE)
    first.says(Kind.PREPARED, number=number)
    assert first.told(Kind.COMMIT) == []
    second.says(Kind.PREPARED, number=number)
    assert first.told(Kind.COMMIT) == second.told(Kind.COMMIT) == [number]
    for worker in (first, second):
        worker.says(Kind.STATE, policy=number)
    assert [answer.status for answer in answers] == [os.EX_OK]
    assert stage.supervisor.policy.path == "new"


@pytest.mark.parametrize("refusing", [0, 1])
def test_where_one_worker_refuses_all_keep_what_they_have(stage: Cast, refusing: int) -> None:
    loader, answers = stage.reload()
    stage.loaded(loader, "new")
    for place, worker in enumerate(stage.workers):
        (number,) = worker.told(Kind.PREPARE)
        if place == refusing:
            worker.says(Kind.REFUSED, number=number, why="no memory")
        else:
            worker.says(Kind.PREPARED, number=number)
    assert [worker.told(Kind.COMMIT) for worker in stage.workers] == [[], []]
    assert [answer.status for answer in answers] == [os.EX_CONFIG]
    assert f"worker {refusing}: no memory" in answers[0].lines[0]
    assert stage.supervisor.policy.path == "first"
    assert metrics.POLICY_SUCCESS._value.get() == 0


def test_a_policy_that_was_given_up_is_not_taken_for_the_next_one(stage: Cast) -> None:
    first, second = stage.workers
    loader, _ = stage.reload()
    stage.loaded(loader, "given up")
    (given_up,) = first.told(Kind.PREPARE)
    second.says(Kind.REFUSED, number=given_up, why="no memory")
    loader, _ = stage.reload()
    stage.loaded(loader, "next")
    first.says(Kind.PREPARED, number=given_up)  # it took its time
    wanted = second.told(Kind.PREPARE)[-1]
    second.says(Kind.PREPARED, number=wanted)
    assert (first.told(Kind.COMMIT), second.told(Kind.COMMIT)) == ([], [])
    first.says(Kind.PREPARED, number=wanted)
    assert first.told(Kind.COMMIT) == second.told(Kind.COMMIT) == [wanted]


def test_a_worker_that_gets_ready_while_others_compile_is_brought_up_to_date(stage: Cast) -> None:
    first, second = stage.workers
    second.ends()
    stage.now = 1.0
    stage.reactor.turn()
    late = stage.workers[-1]
    loader, _ = stage.reload()
    stage.loaded(loader, "new")
    late.says(Kind.READY, policy=1)
    assert late.told(Kind.PREPARE) == []
    (number,) = first.told(Kind.PREPARE)
    first.says(Kind.PREPARED, number=number)
    assert (first.told(Kind.COMMIT), late.told(Kind.PREPARE)) == ([number], [number])
    late.says(Kind.PREPARED, number=number)
    assert late.told(Kind.COMMIT) == [number]


def test_a_worker_that_cannot_have_what_the_others_run_is_replaced(stage: Cast) -> None:
    first, _ = stage.workers
    first.says(Kind.REFUSED, number=1, why="no memory")
    assert first.killed == "it could not compile the policy that the others run: no memory"


def test_a_generation_whose_workers_fail_together_changes_nothing(stage: Cast) -> None:
    """The one that is killed for the other's failure has ended already: so it is noticed in the midst of the first."""
    serving = stage.workers
    loader, answers = stage.reload(force=True)
    stage.loaded(loader, "new")
    new = [worker for worker in stage.workers if worker not in serving]
    for worker in new:
        worker.failure = (os.EX_CONFIG, "the backend is an open relay")
    new[0].ends()
    assert [answer.status for answer in answers] == [os.EX_CONFIG]
    assert "the backend is an open relay" in answers[0].lines[0]
    assert (stage.workers, stage.supervisor.policy.path) == (serving, "first")
    loader, answers = stage.reload(force=True)
    stage.loaded(loader, "next")
    assert len(stage.workers) == 4, answers


def test_a_start_whose_workers_fail_together_is_told_with_its_reason(stage: Cast) -> None:
    stage.supervisor.crew.serving = False  # as before they were ready
    first, second = stage.workers
    first.failure = second.failure = (os.EX_CONFIG, "the backend is an open relay")
    first.ends()
    stage.children[-1].ends()  # the admin process
    with pytest.raises(StartFailed, match="open relay") as failed:
        stage.supervisor.run()
    assert failed.value.status == os.EX_CONFIG


def test_no_reload_begins_in_a_drain(stage: Cast) -> None:
    _, running = stage.reload()
    loaders = len(stage.children)
    _, waiting = stage.reload()
    stage.supervisor.drain()
    assert [answer.status for answer in (*running, *waiting)] == [os.EX_TEMPFAIL, os.EX_TEMPFAIL]
    assert len(stage.children) == loaders


def test_an_admin_process_that_hangs_is_ended(stage: Cast, monkeypatch: pytest.MonkeyPatch) -> None:
    admin = next(each for each in stage.children if each.role is Role.ADMIN)
    signals: list[int] = []
    monkeypatch.setattr(admin, "terminate", signals.append, raising=False)
    admin.says(Kind.STATE)
    stage.now = 31.0
    for worker in stage.workers:
        worker.last_heard = stage.now
    stage.supervisor._tick_now()
    assert signals == [signal.SIGABRT]
    assert "no sign of life" in admin.killed


def test_what_cannot_be_started_has_ended_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(child.sys, "executable", "/nowhere/python")
    reactor, ended = Reactor(lambda: 0.0), list[Child]()
    made = Child(reactor, Role.WORKER, partial(launch, Role.WORKER, []), lambda _child, _message: None, ended.append)
    made.send(Kind.START)
    made.kill("not needed")
    reactor.turn()
    assert ended == [made]
    assert (made.alive, made.pid, made.status) == (False, 0, os.EX_OSERR)
    assert made.how_it_ended() == "it cannot be started: No such file or directory"
    reactor.close()


@pytest.mark.parametrize("until", [0.0, 4e9])
def test_the_log_says_that_all_observe_or_enforce_once_they_know(
    stage: Cast, monkeypatch: pytest.MonkeyPatch, until: float
) -> None:
    known: list[list[dict[str, Any]]] = []

    def logged(_event: str, **_fields: Any) -> None:
        known.append([fields for each in stage.workers for kind, fields in each.sent if kind is Kind.OBSERVE])

    monkeypatch.setattr(supervisor, "logger", SimpleNamespace(warning=logged))
    stage.supervisor.observe(until)
    assert known == [[{"until": until}] * 2]


def test_who_is_found_dead_when_he_is_told_to_observe_hinders_nobody(
    stage: Cast, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[Actor] = []

    def found_dead(worker: Actor) -> None:
        told.append(worker)
        worker.ends()

    workers = stage.workers
    for each in workers:
        monkeypatch.setattr(each, "send", lambda *_, each=each, **__: found_dead(each))
    stage.supervisor.observe(4e9)
    assert {id(each) for each in told} == {id(each) for each in workers}
