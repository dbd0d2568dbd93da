"""`run`, `report`, `promote`, `rollback`, `status`: what the controller is asked."""

import getpass
import json
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from protos import control_pb2 as pb
from protos import events_pb2 as events
from services.cli.controller import controller
from services.cli.logs import TaskName
from services.cli.settings import STATE, StateOption, settings
from services.screen import clear_errors, console, doubts_text, fail, kind_table, policy_text, pruning_text, score_table

app = typer.Typer()
run_app = typer.Typer(help="Start a run, or look at one.", no_args_is_help=True)
POLICIES: Final = {
    "teacher": events.POLICY_KIND_TEACHER_ONLY,
    "student": events.POLICY_KIND_STUDENT_ONLY,
    "share": events.POLICY_KIND_SHARE,
    "cascade": events.POLICY_KIND_CASCADE,
    "shadow": events.POLICY_KIND_SHADOW,
}


@run_app.command("start")
def start(
    task: TaskName,
    set_: Annotated[list[str], typer.Option("--set", help="Change a key of the training config: epochs=2.")] = [],  # noqa: B006
    config: Annotated[
        str, typer.Option(help="A training config to lay over the task's: a YAML file, or a name in training/configs.")
    ] = "",
    snapshot: Annotated[int, typer.Option(min=0, help="A snapshot that is there already; 0 takes a new one.")] = 0,
    state: StateOption = STATE,
) -> None:
    """Take a snapshot of the candidates and train a student on it, now."""
    with clear_errors(), controller(settings(state)) as stub:
        if wrong := [pair for pair in set_ if "=" not in pair]:
            raise fail(f"--set {wrong[0]}: must be KEY=VALUE")
        overrides = dict(pair.split("=", 1) for pair in set_)
        asked = pb.StartRunRequest(task=task, overrides=overrides, config=_config_text(config), snapshot=snapshot)
        run = stub.StartRun(asked)
        console.print(f"run {run.id} started; `tutelage run show {task}` tells how far it is", highlight=False)


RunOption = Annotated[str, typer.Option("--run", help="A run's id, as `run start` printed it; empty: the latest.")]


@run_app.command("show")
def show(
    task: TaskName,
    run: RunOption = "",
    state: StateOption = STATE,
) -> None:
    """A run: how far it is, or what was decided."""
    with clear_errors(), controller(settings(state)) as stub:
        _show_run(stub.GetRun(pb.GetRunRequest(id=run, task=task)))


@app.command()
def report(
    task: TaskName,
    run_id: RunOption = "",
    as_json: Annotated[bool, typer.Option("--json", help="Print report.json instead of the table.")] = False,
    state: StateOption = STATE,
) -> None:
    """What the latest run that has a report measured: teacher, student and cascade side by side."""
    with clear_errors(), controller(settings(state)) as stub:
        run = stub.GetRun(pb.GetRunRequest(id=run_id, task=task))
        if not (run.report or run_id):
            run = _latest_done(stub, task) or run
    if not run.report:
        raise fail(f"run {run.id} has no report: it is {state_name(run)}{': ' + run.reason if run.reason else ''}")
    if as_json:
        typer.echo(run.report)
        return
    made = json.loads(run.report)
    console.print(score_table(made))
    if made.get("why"):
        console.print(f"* {made['why']}", highlight=False)
    for name, reason in made.get("passed_over", {}).items():
        console.print(f"- {name} was passed over: {reason}", highlight=False)
    console.print(kind_table(made))
    _show_run(run)


@app.command()
def promote(
    task: TaskName,
    version: Annotated[int, typer.Option(min=0, help="The student's version; 0 means the latest.")] = 0,
    policy: Annotated[
        str, typer.Option(help="teacher, student, share, cascade or shadow; empty means what the report supports.")
    ] = "",
    share: Annotated[float, typer.Option(min=0, max=1, help="With share or shadow: the part of the calls.")] = 0.0,
    min_confidence: Annotated[
        float, typer.Option(max=0, help="With cascade or share: the least token log-probability kept.")
    ] = 0.0,
    override: Annotated[str, typer.Option(help="Why to promote although no report supports it; recorded.")] = "",
    state: StateOption = STATE,
) -> None:
    """Serve a task by a student version, if its report supports it."""
    if policy and policy not in POLICIES:
        raise fail(f"--policy {policy}: must be one of {', '.join(POLICIES)}")
    if policy == "share" and not share:
        raise fail("--share: give a part above 0, as 0.05")
    if share and policy not in {"share", "shadow"}:
        raise fail(f"--share {share:g}: says nothing without --policy share or shadow")
    if min_confidence and policy not in {"cascade", "share"}:
        raise fail(f"--min-confidence {min_confidence:g}: says nothing without --policy cascade or share")
    wanted = events.Policy(kind=POLICIES[policy], share=share, min_confidence=min_confidence) if policy else None
    request = pb.PromoteRequest(
        task=task, student_version=version, policy=wanted, decided_by=getpass.getuser(), override_reason=override
    )
    with clear_errors(), controller(settings(state)) as stub:
        _show_promotion(stub.Promote(request))


@app.command()
def rollback(
    task: TaskName,
    reason: Annotated[str, typer.Option(help="Why; recorded.")],
    state: StateOption = STATE,
) -> None:
    """Go back to what served before, or to the teacher alone."""
    with clear_errors(), controller(settings(state)) as stub:
        _show_promotion(stub.Rollback(pb.RollbackRequest(task=task, reason=reason, decided_by=getpass.getuser())))


def state_name(run: events.Run) -> str:
    """A run's state as a word: "training"."""
    return events.RunState.Name(run.state).removeprefix("RUN_STATE_").lower()


def _config_text(config: str) -> str:
    """The file's text, or one that refers to the config of that name."""
    path = Path(config)
    if not config or path.is_file():
        return path.read_text(encoding="utf-8") if config else ""
    if path.name != config or path.suffix in {".yaml", ".yml"}:
        raise fail(f"--config {config}: there is no such file")
    return json.dumps({"from": config})  # JSON is YAML


def _latest_done(stub: Any, task: str) -> events.Run | None:
    """The latest run that came to its end, with its report."""
    [status] = stub.Status(pb.StatusRequest(task=task)).tasks
    done = (one.id for one in status.runs if one.state == events.RUN_STATE_DONE)
    found = next(done, "")
    return stub.GetRun(pb.GetRunRequest(id=found)) if found else None


def _show_run(run: events.Run) -> None:
    verdict = " promoted" if run.promoted else " not promoted" if run.state == events.RUN_STATE_DONE else ""
    console.print(f"run {run.id}: {state_name(run)}{verdict}", highlight=False)
    console.print(f"snapshot {run.snapshot}, student version {run.student_version}", highlight=False)
    if run.reason:
        console.print(run.reason, highlight=False)
    if run.erasures:
        told = f"trained on rows of customers who were erased since; erasures {', '.join(run.erasures)}"
        console.print(told, highlight=False)
    report = json.loads(run.report or "{}")
    for told in filter(None, (doubts_text(report), pruning_text(report))):
        console.print(told, highlight=False)
    if run.report_path:
        console.print(f"report: {Path(run.report_path)}", highlight=False)


def _show_promotion(promotion: events.Promotion) -> None:
    console.print(f"{promotion.task}: {policy_text(promotion.policy)}, student version {promotion.student_version}")
    console.print(promotion.reason, highlight=False)
