"""One job's history, read from its events: its moves, and its attempts."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from closegap.job import TRANSITIONS, State

OWNED = ("claimed", "running")
OVER = ("succeeded", "failed", "cancelled")


@dataclass(frozen=True)
class Move:
    """A change of state."""

    time: float
    before: str
    after: str
    reason: str
    actor: str


@dataclass
class Attempt:
    """From its claim until the job was owned no longer."""

    number: int
    worker: str
    claimed: float
    moves: list[Move] = field(default_factory=list)
    """After the claim; the last one ended it."""
    epochs: list[int] = field(default_factory=list)

    @property
    def end(self) -> Move | None:
        """The move that ended it."""
        return self.moves[-1] if self.moves and self.moves[-1].after not in OWNED else None


@dataclass(frozen=True)
class Story:
    """What happened to one job."""

    job: str
    moves: tuple[Move, ...]
    attempts: tuple[Attempt, ...]
    ends: int
    """Events that say that it is over."""
    breaches: tuple[str, ...]
    """What cannot be in a history."""

    def attempt(self, number: int) -> Attempt | None:
        """By its number."""
        return next((attempt for attempt in self.attempts if attempt.number == number), None)


def read(job: str, events: list[dict[str, Any]]) -> Story:
    """The story that events tell."""
    moves: list[Move] = []
    attempts: list[Attempt] = []
    breaches: list[str] = []
    ends = 0
    for event in events:
        data = event["data"]
        if ends and event["type"] != "end":
            breaches.append(f"{job}: a `{event['type']}` after its end")
        if event["type"] == "end":
            ends += 1
        elif event["type"] == "epoch" and attempts:
            attempts[-1].epochs.append(int(data["epoch"]))
        elif event["type"] == "state":
            move = Move(event["time"], data["from"], data["to"], data["reason"], data["actor"])
            breaches += _illegal(job, moves, move)
            moves.append(move)
            if move.after == "claimed":
                attempts.append(Attempt(len(attempts) + 1, move.actor, move.time))
            elif attempts and move.before in OWNED:
                attempts[-1].moves.append(move)
    return Story(job, tuple(moves), tuple(attempts), ends, tuple(breaches))


def _illegal(job: str, moves: list[Move], move: Move) -> list[str]:
    if not moves:
        first = move.before == "" and move.after in ("blocked", "queued")
        return [] if first else [f"{job}: its history begins with {move.before} → {move.after}"]
    if move.before != moves[-1].after:
        return [f"{job}: {move.before} → {move.after} after it had become {moves[-1].after}"]
    if State(move.after) not in TRANSITIONS[State(move.before)]:
        return [f"{job}: {move.before} → {move.after} is no move"]
    return []
