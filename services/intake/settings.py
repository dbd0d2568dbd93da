"""The intake's settings, from the environment."""

from pydantic import Field

from services.settings import GatewayAccess, KafkaSettings, ServiceSettings


class IntakeSettings(KafkaSettings, ServiceSettings, GatewayAccess):
    """What the intake needs to know."""

    intake_group: str = "intake"
    """The consumer group."""
    intake_concurrency: int = Field(64, ge=1)
    """Requests with the gateway at once."""
    intake_max_request_bytes: int = Field(2 * 1024**2, ge=1024)
    """A larger one goes to the dead letters. At most the gateway's MAX_REQUEST_BYTES."""
    intake_deadline_attempts: int = Field(3, ge=1)
    """How often a request is tried whose deadline passes; then it goes to the dead letters."""
    intake_timeout_s: float = Field(60.0, gt=0)
    """The deadline of a request whose task is not in TASKS_DIR."""
    intake_grace_s: float = Field(10.0, ge=0)
    """How long what is with the gateway may take after SIGTERM; the rest is read again after the restart."""
