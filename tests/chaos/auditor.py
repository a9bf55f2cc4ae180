"""The delivery contract, sentence by sentence, against what is known of a run. A pure function of its history."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

from tests.chaos import story
from tests.chaos.history import History, Hit
from tests.chaos.story import OVER, OWNED, Story
from tests.chaos.workload import LABEL, STEPS, same

LOOK = 2.0
"""Seconds between two looks of a worker at the leases of others: what the contract states beside the lease."""
QUIET = 4.0
"""Seconds after an outage of the store in which workers take nothing from each other, and its start."""
STARTING = 12.0
"""Seconds until a worker that is started again does its part."""
DEADLY = ("attempt-kill", "worker-kill", "blackout")
SENTENCES = {
    1: "a submission is wholly recorded, and survives, or is refused",
    2: "one key gives one job; with another spec it is a conflict",
    3: "a job has at most one owner; a write by any other attempt is refused",
    4: "a dead worker loses its lease in time; the job goes on from its checkpoint until its budget is spent",
    5: "an artefact appears whole or not at all; a finished job's artefacts are there",
    6: "cancelling a waiting job takes effect at once; a running one stops in time",
    7: "a waiting job says why it waits and what would let it run; the impossible is refused",
    8: "a job whose needs failed does not run and says so",
}


@dataclass
class Verdict:
    """Of one sentence. A verdict without evidence proves nothing, and is a breach itself."""

    sentence: str
    evidence: Counter[str] = field(default_factory=Counter)
    breaches: list[str] = field(default_factory=list)

    @property
    def kept(self) -> bool:
        """Whether it was put to the test, and kept."""
        return not self.breaches

    def check(self, true: bool, breach: str) -> None:
        """A breach, unless something is true."""
        if not true:
            self.breaches.append(breach)

    def needs(self, *names: str) -> None:
        """Evidence without which nothing was put to the test."""
        for name in names:
            if not self.evidence[name]:
                self.breaches.append(f"nothing is proved: {name}: 0")


def audit(history: History) -> list[Verdict]:
    """A verdict on the run itself, then one on each sentence."""
    stories = {job: story.read(job, events) for job, events in history.events.items()}
    verdicts = [_run(history, stories)]
    for number, judge in enumerate(_JUDGES, 1):
        verdict = Verdict(f"{number}. {SENTENCES[number]}")
        judge(history, stories, verdict)
        verdicts.append(verdict)
    return verdicts


def _run(history: History, stories: dict[str, Story]) -> Verdict:
    verdict = Verdict("0. the run: every fault met work, every history is whole, every event is there once")
    verdict.evidence["jobs"] = len(history.jobs)
    verdict.evidence["attempts"] = sum(len(told.attempts) for told in stories.values())
    met = Counter(fault.kind for fault in history.struck if fault.hits)
    for kind in history.planned:
        verdict.evidence[f"{kind} met a running job"] = met[kind]
        verdict.needs(f"{kind} met a running job")
    verdict.breaches += history.fallen
    verdict.check(set(stories) == set(history.jobs), "records and histories are not of the same jobs")
    for job, told in stories.items():
        verdict.breaches += told.breaches
        record = history.jobs.get(job, {})
        verdict.check(record.get("state") in OVER, f"{job} is not over: {record.get('state')}")
        verdict.check(told.ends == 1, f"{job} ended {told.ends} times")
        if told.moves:
            verdict.check(told.moves[-1].after == record.get("state"), f"{job}: history and record differ")
        verdict.check(
            len(told.attempts) == record.get("attempt"),
            f"{job} had {len(told.attempts)} attempts, its record says {record.get('attempt')}",
        )
        for attempt in told.attempts:
            rising = all(a < b for a, b in pairwise(attempt.epochs))
            verdict.check(rising, f"{job}, attempt {attempt.number} told of epochs {attempt.epochs}")
    return verdict


def _recorded(history: History, stories: dict[str, Story], verdict: Verdict) -> None:
    by_mark: dict[str, set[str]] = defaultdict(set)
    for job, record in history.jobs.items():
        by_mark[record["labels"].get(LABEL, "")].add(job)
    for wanted in history.submissions:
        answer, there = wanted.answers[-1], by_mark.get(wanted.mark, set())
        lost = sum(heard.status == 0 for heard in wanted.answers)
        verdict.evidence["answers that were lost"] += lost
        if wanted.expected == "accepted":
            verdict.evidence["acknowledged"] += 1
            verdict.check(answer.status in (200, 202), f"{wanted.key} was answered with {answer.status}")
            verdict.check(len(answer.ids) == wanted.size, f"{wanted.key}: {len(answer.ids)} of {wanted.size}")
            missing = set(answer.ids) - set(history.jobs)
            verdict.check(not missing, f"{wanted.key}: {sorted(missing)} were acknowledged and are lost")
            verdict.check(there == set(answer.ids), f"{wanted.key}: recorded are {sorted(there)}")
        elif wanted.expected == "refused":
            verdict.evidence["refused"] += 1
            verdict.check(400 <= answer.status < 500, f"{wanted.key} was not refused: {answer.status}")
            verdict.check(not there, f"{wanted.key} was refused and has left {sorted(there)}")
    strange = set(by_mark) - {wanted.mark for wanted in history.submissions}
    verdict.check(not strange, f"jobs that nobody submitted: {sorted(strange)}")
    verdict.evidence["deaths of the store"] = sum(
        fault.kind in ("store-kill", "blackout") or (fault.kind == "store-full" and fault.met > 0)
        for fault in history.struck
    )
    verdict.needs("acknowledged", "refused")


def _keyed(history: History, stories: dict[str, Story], verdict: Verdict) -> None:
    given: dict[str, set[tuple[str, ...]]] = defaultdict(set)
    asked: Counter[str] = Counter()
    for wanted in history.submissions:
        asked[wanted.key] += len(wanted.answers)
        if wanted.expected == "conflict":
            verdict.evidence["conflicts"] += 1
            refused = wanted.answers[-1].status in (409, 422)
            verdict.check(refused, f"{wanted.key} with another spec: {wanted.answers[-1].status}")
            made = [job for job, record in history.jobs.items() if record["labels"].get(LABEL) == wanted.mark]
            verdict.check(not made, f"{wanted.key} with another spec has made {made}")
        elif wanted.expected == "accepted":
            given[wanted.key] |= {answer.ids for answer in wanted.answers if answer.ids}
    for key, ids in given.items():
        verdict.check(len(ids) == 1, f"{key} gave {sorted(ids)}")
    verdict.evidence["keys sent more than once"] = sum(count > 1 for count in asked.values())
    verdict.needs("keys sent more than once", "conflicts")


def _owned(history: History, stories: dict[str, Story], verdict: Verdict) -> None:
    for job, told in stories.items():
        for attempt in told.attempts:
            verdict.evidence["attempts"] += 1
            for move in attempt.moves:
                verdict.check(
                    move.actor in (attempt.worker, "queue"),
                    f"{job}, attempt {attempt.number} of {attempt.worker}: {move.after} by {move.actor}",
                )
    won = [ended for ended in history.ended_attempts if ended.said == "succeeded"]
    for ended in won:
        attempt = stories[ended.job].attempt(ended.attempt) if ended.job in stories else None
        done = attempt is not None and attempt.end is not None and attempt.end.after == "succeeded"
        verdict.check(
            done, f"{ended.job}, attempt {ended.attempt} was told that it succeeded; it is not recorded"
        )
    for job, times in Counter(ended.job for ended in won).items():
        verdict.check(times == 1, f"{job} succeeded {times} times")
    verdict.evidence["ends as workers heard of them"] = len(history.ended_attempts)
    verdict.evidence["writes of strangers refused"] = history.lost_leases
    slept = [fault for fault in history.struck if fault.kind in ("worker-pause", "machine-pause", "wire-cut")]
    for fault in slept:
        verdict.evidence["owners that slept or were cut off"] += len(fault.hits)
        verdict.evidence["of those, the job went to another"] += sum(
            _replaced(stories, hit) for hit in fault.hits
        )
    if slept:
        verdict.needs("writes of strangers refused", "of those, the job went to another")
    verdict.needs("attempts")


def _replaced(stories: dict[str, Story], hit: Hit) -> bool:
    attempt = stories[hit.job].attempt(hit.attempt) if hit.job in stories else None
    return attempt is not None and attempt.end is not None and "has run out" in attempt.end.reason


def _taken_over(history: History, stories: dict[str, Story], verdict: Verdict) -> None:
    longest = 0.0
    for fault in history.struck:
        for hit in fault.hits if fault.kind in DEADLY else ():
            attempt = stories[hit.job].attempt(hit.attempt) if hit.job in stories else None
            if attempt is None or (attempt.end is not None and attempt.end.time < fault.time):
                continue  # it was over before the blow fell
            verdict.evidence[f"{fault.kind} while {hit.window}"] += 1
            end = attempt.end.time if attempt.end else history.ended
            away = _away(history, fault.time, end)
            took, limit = end - fault.time - away, history.lease + LOOK + history.busy
            longest = max(longest, took)
            verdict.check(
                attempt.end is not None and took <= limit,
                f"{hit.job}, attempt {hit.attempt}, hit by {fault.number} ({fault.kind}): owned {took:.1f} s more",
            )
            _goes_on(stories[hit.job], history.jobs[hit.job], hit, verdict)
    verdict.evidence["longest takeover, ms"] = round(1000 * longest)
    for job, record in history.jobs.items():
        spent, budgets = record["retries_spent"], record["spec"]["retries"]
        for name, budget in budgets.items():
            verdict.check(
                budget is None or spent.get(name, 0) <= budget,
                f"{job} was run again {spent}, allowed {budgets}",
            )
        failure = (record["error"] or {}).get("failure")
        if record["state"] == "failed" and failure:
            verdict.evidence[f"failed of {failure}"] += 1
            whole = spent.get(failure, 0) == budgets[failure]
            verdict.check(whole, f"{job} failed of {failure} with {spent} of {budgets}")
    killed = any(" while " in name for name in verdict.evidence)
    verdict.check(killed, "nothing is proved: nothing was killed")


def _goes_on(told: Story, record: dict[str, Any], hit: Hit, verdict: Verdict) -> None:
    """Whether those who came after began where the newest checkpoint was: at its end, if it was of the last epoch."""
    if not hit.checkpoint or told.attempt(hit.attempt + 1) is None:
        return
    saved, name = hit.checkpoint // STEPS, f"{hit.job}, after attempt {hit.attempt}"
    later = next((one for one in told.attempts if one.number > hit.attempt and one.epochs), None)
    if later is not None:
        verdict.evidence["gone on from a checkpoint"] += 1
        first = later.epochs[0]
        verdict.check(first > saved, f"{name}: begun at epoch {first}, the checkpoint was of epoch {saved}")
    elif record["state"] == "succeeded":
        verdict.evidence["gone on from the last checkpoint"] += 1
        last = record["spec"]["training"]["epochs"]
        verdict.check(saved == last, f"{name}: epochs after {saved} of {last} were reported by nobody")


def _whole(history: History, stories: dict[str, Story], verdict: Verdict) -> None:
    for artefact in (*history.artefacts, *history.seen):
        verdict.check(not artefact.fault, f"{artefact.digest}: {artefact.fault}")
    found = {artefact.digest: artefact for artefact in history.artefacts}
    verdict.evidence["artefacts"] = len(found)
    verdict.evidence["looks at artefacts meanwhile"] = len(history.seen)
    made: dict[str, set[str]] = defaultdict(set)
    for job, record in history.jobs.items():
        if record["state"] != "succeeded":
            verdict.check(not record["outputs"], f"{job} is {record['state']} and has outputs")
            continue
        digests = [value for name, value in record["outputs"].items() if name in ("model", "encoding")]
        verdict.check(bool(digests), f"{job} succeeded and names no artefact")
        for digest in digests:
            verdict.evidence["artefacts of finished jobs"] += 1
            verdict.check(digest in found, f"{job} succeeded, but {digest} is not there")
            if digest in found and not record["needs"]:
                made[same(record["spec"])].add(found[digest].weights or digest)
        name = record["spec"].get("register")
        if name:
            verdict.evidence["registered"] += 1
            versions = [version for version in history.registered if version[0] == name]
            verdict.check(
                any(version[2] in digests for version in versions), f"{job} is not registered as {name}"
            )
    for spec, digests in made.items():
        verdict.check(len(digests) == 1, f"{len(digests)} different results of {spec}: {sorted(digests)}")
    verdict.evidence["specs whose results were compared"] = len(made)
    for window in ("working", "sealed", "ended"):
        verdict.evidence[f"killed while {window}"] = sum(
            hit.window == window for fault in history.struck if fault.kind in DEADLY for hit in fault.hits
        )
    verdict.needs("artefacts of finished jobs")


def _cancelled(history: History, stories: dict[str, Story], verdict: Verdict) -> None:
    for asked in history.asked:
        if asked.what != "cancel" or asked.status != 200:
            continue
        if asked.state not in OWNED:
            verdict.check(asked.state in OVER, f"{asked.job} was cancelled and is {asked.state}")
            verdict.evidence["at once, or over already"] += 1
            continue
        end = stories[asked.job].attempts[-1].end if asked.job in stories else None
        took = (end.time if end else history.ended) - asked.time
        took -= _away(history, asked.time, asked.time + took) + _slept(history, asked.time, asked.time + took)
        verdict.evidence["running ones that stopped"] += 1
        limit = history.grace + history.lease + LOOK + history.busy
        verdict.check(took <= limit, f"{asked.job} was cancelled and ran on for {took:.1f} s")
        state = history.jobs[asked.job]["state"]
        verdict.check(state in OVER, f"{asked.job} was cancelled while it ran and is {state}")
    verdict.needs("at once, or over already")


def _told_why(history: History, stories: dict[str, Story], verdict: Verdict) -> None:
    waiting = ("blocked", "queued", "paused")
    for looked in history.looked:
        if looked.before != looked.after or looked.before not in waiting:
            continue
        verdict.evidence[f"{looked.before} jobs that said why"] += 1
        verdict.check(bool(looked.reason), f"{looked.job} is {looked.before} and does not say why")
        verdict.check(bool(looked.unblocked_by), f"{looked.job} does not say what would let it run")
        placed = looked.place is None or (looked.before == "queued" and looked.place >= 1)
        verdict.check(placed, f"{looked.job} is {looked.before} at place {looked.place}")
    verdict.evidence["waiting jobs that said why"] = sum(verdict.evidence.values())
    impossible = [wanted for wanted in history.submissions if wanted.expected == "refused"]
    verdict.evidence["impossible ones refused"] = len(impossible)
    verdict.needs("waiting jobs that said why", "impossible ones refused")


def _unneeded(history: History, stories: dict[str, Story], verdict: Verdict) -> None:
    for job, record in history.jobs.items():
        lost = [
            need
            for need in record["needs"].values()
            if history.jobs[need]["state"] in ("failed", "cancelled")
        ]
        if not lost:
            continue
        verdict.evidence["jobs whose needs failed"] += 1
        verdict.check(
            record["state"] == "cancelled", f"{job} is {record['state']}, its need {lost} is not done"
        )
        verdict.check(not stories[job].attempts, f"{job} was run though its need {lost} had not succeeded")
        said = any(need in record["reason"] for need in lost) or record["reason"].startswith("cancelled by")
        verdict.check(said, f"{job} does not say which need failed: {record['reason']}")
    for job, record in history.jobs.items():
        if record["needs"] and stories[job].attempts:
            verdict.evidence["jobs that ran after their needs"] += 1
            done = [_end(stories[need]) for need in record["needs"].values()]
            verdict.check(
                max(done) <= stories[job].attempts[0].claimed, f"{job} ran before its needs were done"
            )
    verdict.needs("jobs whose needs failed")


def _end(told: Story) -> float:
    return told.moves[-1].time if told.moves and told.moves[-1].after == "succeeded" else float("inf")


_JUDGES: tuple[Callable[[History, dict[str, Story], Verdict], None], ...] = (
    _recorded, _keyed, _owned, _taken_over, _whole, _cancelled, _told_why, _unneeded,
)  # fmt: skip


def _away(history: History, since: float, until: float) -> float:
    """Seconds in which nobody could do anything: the store was away, or every worker was."""
    store = [
        (fault.time, fault.until + QUIET)
        for fault in history.struck
        if fault.kind.startswith(("store", "blackout", "wire"))
    ]
    absent = [
        [
            (
                fault.time,
                fault.until + (STARTING if "kill" in fault.kind or fault.kind == "blackout" else 1.0),
            )
            for fault in history.struck
            if place in fault.places
        ]
        for place in range(history.workers)
    ]
    marks = sorted(
        {since, until, *(t for a, b in store for t in (a, b)), *(t for w in absent for s in w for t in s)}
    )
    total = 0.0
    for a, b in pairwise(marks):
        if a < since or b > until:
            continue
        middle = (a + b) / 2
        if _in(store, middle) or all(_in(spans, middle) for spans in absent):
            total += b - a
    return total


def _slept(history: History, since: float, until: float) -> float:
    """Seconds that faults other than of the store may have held a job up, one after the other."""
    return sum(
        max(0.0, min(until, fault.until) - max(since, fault.time))
        for fault in history.struck
        if fault.kind in ("worker-pause", "machine-pause", "attempt-pause")
    )


def _in(spans: list[tuple[float, float]], time: float) -> bool:
    return any(a <= time <= b for a, b in spans)
