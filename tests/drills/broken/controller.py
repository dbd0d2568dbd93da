"""A controller that tells of a decision before Kafka has it."""

from services.controller import __main__ as controller
from tests.drills.broken.producers import Early

if __name__ == "__main__":
    controller.Producer = Early
    controller.main()
