from pathlib import Path

import pytest

from services.controller import reports
from services.controller.errors import Refused
from services.controller.verdict import judge
from tests.services.controller.world import a_report, a_task
from training.contract import CurvePoint, Mistake, Report

MISTAKE = Mistake(question="?" * 4_000, truth="yes", answer="no", confidence=-0.1, kind="rare", kept=True)
POINT = CurvePoint(step=1, train_loss=0.5, eval_loss=None, tokens_per_s=500)


def test_a_report_that_fits_is_told_whole() -> None:
    report = a_report(mistakes=[MISTAKE] * 10)
    assert Report.model_validate_json(reports.text(report)) == report


def test_of_a_report_that_does_not_fit_the_worst_mistakes_stay_and_the_verdict_is_the_same() -> None:
    report = a_report(mistakes=[MISTAKE] * 1_000, learning_curve=[POINT] * 20_000)
    text = reports.text(report)
    told = Report.model_validate_json(text)
    assert len(text.encode()) <= reports.MAX_REPORT_BYTES
    assert 0 < len(told.mistakes) < 1_000
    assert judge(told, a_task()) == judge(report, a_task())


def test_a_file_that_is_no_report_is_refused_by_its_name(tmp_path: Path) -> None:
    (tmp_path / "report.json").write_text('{"golden": 3}')
    with pytest.raises(Refused, match=r"report\.json is not a report"):
        reports.read(tmp_path / "report.json")
    assert reports.read(tmp_path / "none.json") is None
