"""The demo: traffic -> candidates -> student -> proof -> promotion -> the student's answers, on a running stack."""

import asyncio
import json
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from rich.progress import Progress

from deploy.demo import ledger, traffic
from deploy.demo.addresses import Address
from deploy.demo.scale import Scale
from deploy.demo.training_progress import TrainingProgress
from deploy.local.addresses import Addresses
from protos import control_pb2 as control
from protos import events_pb2 as events
from protos import inference_pb2 as inference
from services import client, tasks
from services.audit import asking, take
from services.clickhouse import ClickHouse
from services.kafka import Producer
from services.screen import WHO, console, doubts_text, kind_table, progress, score_table
from services.settings import ControlAccess, GatewayAccess, KafkaSettings

SHOWN_ANSWERS: Final = 5
TAKES_EFFECT_S: Final = 20.0
RUN_POLL_S: Final = 1.0
ENDED: Final = (events.RUN_STATE_DONE, events.RUN_STATE_FAILED)


class DemoFailed(Exception):  # noqa: N818 - said as it is
    """The demo could not go on; the message says at what, and where to look."""


@dataclass
class Story:
    """The demo's steps over a running stack, and what each took."""

    scale: Scale
    stack: Addresses
    task: tasks.Task
    kafka: KafkaSettings
    clickhouse: ClickHouse
    runs_dir: Path
    check: Callable[[], None]
    """Raises if a part of the stack has ended."""
    seconds: dict[str, float] = field(default_factory=dict)
    replies: dict[str, inference.Reply] = field(default_factory=dict)
    by_kafka: set[str] = field(default_factory=set)
    minutes_over: float = 0.0
    """What training was allowed, where it was too short."""

    def tell(self, addresses: Sequence[Address], began: float) -> Path:
        """All of it; returns the path of demo.json. `began` is in monotonic seconds. Raises DemoFailed."""
        before, fresh = addresses[: self.scale.requests], addresses[self.scale.requests :]
        with self.stage("traffic"):
            self.ask_the_teacher(before)
        with self.stage("candidates"):
            self.give_feedback(before)
        run = self.run_to_its_end()
        with self.stage("after"):
            answered_by_student = self.after_the_promotion(run, fresh)
        with self.stage("ledger"):
            counts = self.count()
        self.seconds["total"] = round(time.monotonic() - began, 1)
        return self.close(run, counts, answered_by_student)

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Times what is inside."""
        start = time.monotonic()
        yield
        self.seconds[name] = round(time.monotonic() - start, 1)

    def ask_the_teacher(self, addresses: Sequence[Address]) -> None:
        """Every address through the gateway: most by gRPC, some by a Kafka producer."""
        split = len(addresses) - self.scale.by_kafka
        producer = Producer(self.kafka)
        self.by_kafka = traffic.produce(producer, addresses[split:])
        with progress() as bar:
            shown = bar.add_task("requests by gRPC", total=split, note="")
            self._call(addresses[:split], bar, shown)
            shown = bar.add_task("requests by Kafka", total=len(self.by_kafka), note="")

            def all_answered() -> bool:
                done = len(self.by_kafka & ledger.answered_on_kafka(self.kafka))
                bar.update(shown, completed=done)
                return done == len(self.by_kafka)

            ledger.wait_until(all_answered, 120, "answering the requests on Kafka")

    def give_feedback(self, addresses: Sequence[Address]) -> None:
        """Users confirm or correct some answers; people decide the golden ones; the sampler chooses the candidates."""
        reviews = list(traffic.feedback(addresses, self.replies, self.scale.reviewed))
        asyncio.run(client.record_all(GatewayAccess(gateway_address=self.stack.gateway), reviews, concurrency=32))
        examples = traffic.golden(self.task, addresses)
        with client.control(ControlAccess(control_address=self.stack.control)) as stub:
            stub.AddGolden(control.AddGoldenRequest(task=self.task.name, examples=examples), timeout=60)
        corrected = sum(review.HasField("correction") for review in reviews)
        say(f"feedback on {len(reviews)} answers, {corrected} corrected; {len(examples)} golden examples set aside")
        ledger.wait_until_settled(self.clickhouse, time.monotonic, timeout_s=180)

    def run_to_its_end(self) -> events.Run:
        """A run, with its progress on screen. Raises DemoFailed if it fails."""
        run: events.Run
        with client.control(ControlAccess(control_address=self.stack.control)) as stub:
            request = control.StartRunRequest(task=self.task.name, overrides=dict(self.scale.overrides))
            run = stub.StartRun(request, timeout=60)
            with progress() as bar:
                shown = TrainingProgress(self.runs_dir, run.id, bar)
                while run.state not in ENDED:
                    time.sleep(RUN_POLL_S)
                    self.check()
                    shown.look()
                    run = stub.GetRun(control.GetRunRequest(id=run.id), timeout=60)
        if run.state == events.RUN_STATE_FAILED:
            raise DemoFailed(f"the run failed: {run.reason}")
        report = json.loads(run.report)
        if report["stopping"]:
            say(report["stopping"])
        elif cut := shown.cut.get(report["chosen"]):
            self.minutes_over = json.loads(run.config)["max_minutes"]
            say(f"trained {cut[0]} of {cut[1]} steps: its {self.minutes_over:g} minutes were over")
        self.seconds |= {f"run: {name}": round(float(took), 1) for name, took in report["seconds"].items()}
        return run

    def after_the_promotion(self, run: events.Run, fresh: Sequence[Address]) -> int:
        """Addresses never seen before, by the same call; returns how many the student answered."""
        if run.promoted:
            ledger.wait_until(lambda: self._student_is_asked(fresh[0]), TAKES_EFFECT_S, "the promotion's taking effect")
            fresh = fresh[1:]
        with progress() as bar:
            shown = bar.add_task("fresh requests", total=len(fresh), note="")
            tally = self._call(fresh, bar, shown, concurrency=16)
        replies = [(address, tally.replies[address.text]) for address in fresh if address.text in tally.replies]
        for address, reply in [pair for pair in replies if pair[1].answered_by == inference.BACKEND_STUDENT][
            :SHOWN_ANSWERS
        ]:
            for line in shown_answer(address, reply):
                say(line)
        wrong = sum(not traffic.is_right(reply, address) for address, reply in replies)
        by_student = sum(reply.answered_by == inference.BACKEND_STUDENT for _, reply in replies)
        console.print(
            f"{len(replies)} fresh requests: {by_student} answered by the student; {wrong} wrong in all",
            highlight=False,
        )
        return by_student

    def count(self) -> dict[str, int]:
        """The ledger: answered = on Kafka = distinct in ClickHouse. Waits for the sink to catch up."""
        answered = {reply.exchange_id for reply in self.replies.values()} | self.by_kafka
        on_kafka = ledger.answered_on_kafka(self.kafka)
        ledger.wait_until(lambda: asking.answered_ids(self.clickhouse) >= len(on_kafka), 60, "the sink")
        return {
            "answered": len(answered),
            "on_kafka": len(on_kafka),
            "distinct_in_clickhouse": asking.answered_ids(self.clickhouse),
            "missing": take(self.clickhouse, {}, within_s=10).total.missing,
            "duplicates": asking.duplicates(self.clickhouse, days=1),
        }

    def close(self, run: events.Run, counts: dict[str, int], answered_by_student: int) -> Path:
        """The table, the verdict, the ledger, and demo.json."""
        report = json.loads(run.report)
        console.print(score_table(report, trained_on(report["train"], self._examples(run), self.minutes_over)))
        if report["why"]:
            say(f"* {report['why']}")
        console.print(kind_table(report))
        if told := doubts_text(report):
            say(told)
        read, written = report["teacher"]["prompt_tokens"], report["student"]["prompt_tokens"]
        say(f"prompt tokens per request: teacher {read:,.0f}, student {written:,.0f}: {1 - written / read:.0%} saved")
        console.print(run.reason, style="bold green" if run.promoted else "bold yellow", markup=False, highlight=False)
        say("ledger: " + ", ".join(f"{name} {n}" for name, n in counts.items()))
        say(f"report: {run.report_path}")
        path = Path(run.report_path).parent / "demo.json"
        summary = {"seconds": self.seconds, "ledger": counts, "golden": report["golden"], **_scores(report)}
        summary["candidates"] = {
            one["name"]: {"seconds": round(one["seconds"], 1), **_scores(one)} for one in report["candidates"]
        }
        summary["chosen"] = report["chosen"]
        ended = {"promoted": run.promoted, "reason": run.reason, "answered_by_student_after": answered_by_student}
        path.write_text(json.dumps(summary | ended, indent=2) + "\n", encoding="utf-8")
        return path

    def _call(self, addresses: Sequence[Address], bar: Progress, shown: Any, concurrency: int = 0) -> traffic.Tally:
        def step() -> None:
            bar.update(shown, advance=1)

        tally = traffic.call(self.stack.gateway, addresses, concurrency or self.scale.concurrency, step)
        self.replies |= tally.replies
        if tally.failures:
            raise DemoFailed(f"{len(tally.failures)} calls failed, the first with {tally.failures[0]}")
        return tally

    def _examples(self, run: events.Run) -> int:
        """How many examples there were to learn from."""
        manifest = self.runs_dir.parent / "snapshots" / run.task / str(run.snapshot) / "manifest.json"
        return int(json.loads(manifest.read_text(encoding="utf-8"))["counts"]["train"]["rows"])

    def _student_is_asked(self, address: Address) -> bool:
        tally = traffic.call(self.stack.gateway, [address], 1, lambda: None)
        self.replies |= {reply.exchange_id: reply for reply in tally.replies.values()}
        return any(reply.timings.student_us > 0 for reply in tally.replies.values())


def shown_answer(address: Address, reply: inference.Reply) -> Iterator[str]:
    """An answer as lines: what was asked and said, the truth where that is another, and who said it."""
    yield f"  {address.text}"
    yield f"    -> {reply.message.content}"
    if not traffic.is_right(reply, address):
        yield f"    WRONG: the truth is {address.answer}"
    yield f"    student version {reply.student_version}, {reply.timings.total_us / 1000:.0f} ms, {reply.why}"


def trained_on(seen: int, examples: int, minutes_over: float) -> str:
    """How many of the examples the student has seen and, where its time was over before, why no more."""
    why = f", all that its {minutes_over:g} minutes allowed" if minutes_over else ""
    return f"{seen:,} of {examples:,} examples{why}"


def say(text: str) -> None:
    """Print text as it is, without markup."""
    console.print(text, markup=False, highlight=False)


def _scores(report: dict[str, Any]) -> dict[str, dict[str, float]]:
    names = ("error", "error_low", "error_high", "p50_ms", "p99_ms", "usd_per_million", "teacher_share")
    return {who: {name: report[who][name] for name in names} for who in WHO if who in report}
