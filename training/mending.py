"""What is learnt of doubtful answers, decided once for a job, before it trains: found, asked about, settled, measured.

The candidates of a contest share what was decided, and the second teacher's opinions, in the contest's output; each
has a copy in its own, which its workers read.
"""

from collections import Counter
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from services.validators import refusal
from training import data, decision, doubts, helped, leaking, opinions, progress, scoring, settling
from training.config import Config
from training.contract import Doubted, Helped, Job, Opinions
from training.data import Row
from training.decision import Decision
from training.doubts import Doubt
from training.opinions import Heard
from training.second_teacher import SecondTeacher
from training.settling import Said, Settled


def decide(job: Job, config: Config, second: SecondTeacher | None, shared: Path) -> None:
    """Leave what was decided in the job's output; `shared` is where candidates of one contest find the same."""
    own, once = decision.path(job.output, config), decision.path(shared, config)
    if config.doubtful == "keep" or own.is_file():
        return
    if not once.is_file():
        _write(once, _decided(job.model_copy(update={"output": shared}), config, second).model_dump_json(indent=2))
    if own != once:
        _write(own, once.read_text(encoding="utf-8"))


def _write(path: Path, text: str) -> None:
    part = path.with_suffix(".part")
    part.write_text(text, encoding="utf-8")
    part.replace(path)


def _decided(job: Job, config: Config, second: SecondTeacher | None) -> Decision:
    table = data.rows(job.dataset, "train")
    progress.write(job.output, "settle", message=f"{len(table)} answers are looked at for likely wrong ones")
    doubted = doubts.about(table, {place for place, row in enumerate(table) if _refusal(job, row, row["completion"])})
    heard = _heard(job, config, table, doubted.found, second)
    made = [_settled(job, config, table[doubt.place], doubt, heard) for doubt in doubted.found]
    fates, known = Counter(one.fate for one in made), _helped(job, table, made)
    told = Doubted(
        wanted=config.doubtful,
        rows=sum(not row["corrected"] for row in table),
        judged=doubted.judged,
        why=dict(Counter(doubt.why for doubt in doubted.found)),
        kept=fates["kept"],
        relabelled=fates["relabelled"],
        left_out=fates["left_out"],
        down_weighted=fates["down_weighted"],
        opinions=_opinions(job, table, heard, second) if second and heard.asked else None,
        helped=known if isinstance(known, Helped) else None,
        unmeasured=known if isinstance(known, str) else "",
    )
    return Decision(settled=made, told=told)


def _heard(
    job: Job, config: Config, table: Sequence[Row], found: Sequence[Doubt], second: SecondTeacher | None
) -> Heard:
    """Of free texts nothing: two good ones hardly ever are the same, so that another one tells nothing."""
    if second is None or job.answer_kind == "text":
        return Heard(0, {})
    return opinions.heard(job, config, table, [doubt.place for doubt in found], second)


def _settled(job: Job, config: Config, row: Row, doubt: Doubt, heard: Heard) -> Settled:
    said = Said(row["completion"], doubt.students, doubt.sure, heard.answers.get(doubt.place))
    same = partial(scoring.right, job.answer_kind)
    fate, other = settling.settle(config.doubtful, said, same, lambda answer: not _refusal(job, row, answer))
    weight = settling.DOWN_WEIGHT if fate == "down_weighted" else 1.0
    return Settled(place=doubt.place, id=row["id"], why=doubt.why, fate=fate, completion=other, weight=weight)


def _refusal(job: Job, row: Row, answer: str) -> str:
    return refusal(job.validators, row["question"], answer)


def _opinions(job: Job, table: Sequence[Row], heard: Heard, second: SecondTeacher) -> Opinions:
    agreed = sum(
        scoring.right(job.answer_kind, table[place]["completion"], said) for place, said in heard.answers.items()
    )
    return Opinions(
        teacher=second.name,
        asked=heard.asked,
        agreed=agreed,
        differed=len(heard.answers) - agreed,
        failed=heard.asked - len(heard.answers),
        why=heard.why,
    )


def _helped(job: Job, table: Sequence[Row], made: Sequence[Settled]) -> Helped | str:
    """Raises ValueError if nothing is left to learn from."""
    learnt = settling.learnt(table, {one.place: one for one in made})
    if not learnt:
        raise ValueError("every answer is likely wrong and left out, so nothing is left to learn from")
    golden, _ = leaking.apart(job.dataset, data.rows(job.dataset, "golden"), job.answer_kind)
    return helped.helped(job, golden, table, learnt)
