"""A sink that is wrong on purpose: it commits before it inserts. A drill that this one survives proves nothing."""

from services.sink import __main__ as sink
from services.sink.pipeline import Pipeline
from services.topics import Record


class Hasty(Pipeline):
    def _take(self, record: Record) -> None:
        self._consumer.commit([record])
        super()._take(record)

    def _commit(self) -> None:
        if self._inserting.batch is not None:
            self._inserting.end()
            self._inserting.forget()


if __name__ == "__main__":
    sink.Pipeline = Hasty
    sink.main()
