"""An intake that commits a request when it has read it, not when it is answered."""

from services.intake import __main__ as intake
from services.intake import pipeline
from services.intake.progress import Progress
from services.topics import Record


class Hasty(Progress):
    def take(self, record: Record) -> bool:
        taken = super().take(record)
        self.answer(record)
        return taken


if __name__ == "__main__":
    pipeline.Progress = Hasty
    intake.main()
