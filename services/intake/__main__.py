"""The intake: topic `requests` into the gateway. Run with `python -m services.intake`."""

import asyncio
import signal

import uvloop

from services import tasks, telemetry
from services.intake.gateway import Gateway
from services.intake.pipeline import Pipeline
from services.intake.settings import IntakeSettings
from services.kafka import Consumer, Producer
from services.topics import REQUESTS


async def serve(settings: IntakeSettings) -> None:
    """Send what comes to the gateway, until SIGTERM or SIGINT."""
    stopping = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopping.set)
    gateway = Gateway(settings, tasks.load(settings.tasks_dir), settings.intake_timeout_s)
    consumer = Consumer(settings, settings.intake_group, [REQUESTS.name])
    telemetry.log.info("the intake reads", topic=REQUESTS.name, group=settings.intake_group)
    await Pipeline(settings, consumer, Producer(settings), gateway).run(stopping)
    await gateway.close()
    telemetry.log.info("the intake has stopped")


def main() -> None:
    """Read the environment and serve."""
    settings = IntakeSettings()
    telemetry.start("intake", settings.log_level, settings.metrics_listen)
    uvloop.run(serve(settings))


if __name__ == "__main__":
    main()
