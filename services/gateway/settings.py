"""The gateway's settings, each from the environment variable of its name in upper case."""

from pathlib import Path
from typing import Literal

from pydantic import Field, SecretStr, model_validator

from services.gateway.checks import RequestLimits
from services.gateway.spool import Fsync
from services.gateway.teacher_wire import HttpVersion, Resumes
from services.settings import ServiceSettings


class GatewaySettings(ServiceSettings):
    """Where the gateway listens, whom it asks, and how much it takes on."""

    gateway_listen: str = "127.0.0.1:50051"
    """host:port; port 0 takes a free one. There is no authentication: beyond loopback, put a proxy that has it before
    the gateway, and name the address here."""
    http_listen: str = Field("127.0.0.1:8080", pattern=r"^$|:\d{1,5}$")
    """host:port of the OpenAI-compatible HTTP beside gRPC; port 0 takes a free one, empty serves none. No TLS: beyond
    loopback, put a proxy that has it before the gateway."""
    reuse_port: bool = False
    """Let several gateway processes of one host share the port. Without it a second one is an error, not a surprise."""
    gateway_processes: int = Field(1, ge=1, le=256)
    """How many of this host share its ports and are kept running; one a core is much. With more than one, ports are
    named, that of METRICS_LISTEN counts up from process to process, and SPOOL_DIR holds a spool of each."""
    gateway_process: int | None = Field(None, ge=0)
    """Set for each of several by the process that keeps them running."""
    controller_address: str = ""
    """The controller's host:port, for its decisions to take effect also while Kafka is slow. Empty follows Kafka alone,
    which tells them all the same."""
    triton_grpc_address: str = "127.0.0.1:8001"
    teacher_base_url: str = "https://api.openai.com/v1"
    """Any OpenAI-compatible API."""
    teacher_api_key: SecretStr = SecretStr("")
    teacher_model: str = ""
    """Takes the place of every task's teacher model; empty keeps the tasks' own."""
    teacher_token_limit_field: Literal["max_tokens", "max_completion_tokens"] = "max_tokens"  # noqa: S105 - no secret
    """What the API calls the limit of an answer; OpenAI's reasoning models know only the second."""
    teacher_needs_s: float = Field(1.5, ge=0)
    """What it typically takes: the time kept free for it behind a student."""
    teacher_max_retries: int = Field(2, ge=0)
    """Of a call that failed before its answer began, within the call's time."""
    teacher_max_calls: int = Field(1_000, ge=1, le=200_000)
    """Calls to it at a time; more wait. An open call takes 20 KB. Over HTTP/1.1 each has a connection of its own, so
    an open file; over HTTP/2 they share some."""
    teacher_http: HttpVersion = "auto"
    """auto: over TLS what the API offers, HTTP/2 before HTTP/1.1; over plain HTTP 1.1. 2: HTTP/2 without asking, also
    over plain HTTP (h2c)."""
    teacher_calls_per_connection: int = Field(100, ge=1, le=10_000)
    """Over HTTP/2; more open another connection. Most servers allow 100 to 128 and let more wait."""
    teacher_max_answer_bytes: int = Field(8 * 1024**2, ge=1024)
    """A larger answer is none; of what is larger than a Kafka message only a part would be kept in the log anyway."""
    teacher_ca_file: Path | None = None
    """PEM of the authorities that vouch for the API's certificate, in place of the system's."""
    teacher_resumes: Resumes = "no"
    """How the API goes on from the beginning of an answer that another backend has broken off: continue_final_message
    (vLLM, SGLang), prefix (DeepSeek), repeated_prefix (Mistral); no: it starts anew."""
    shadow_most_at_once: int = Field(64, ge=0)
    """Calls of a process at a time about which the other backend is asked unseen; more are not compared, and counted.
    A student of 100 ms then answers 640 a second unseen, and the callers' own calls have the rest."""
    shadow_timeout_s: float = Field(30.0, gt=0)
    """How long an unseen answer may take; a student's also no longer than its task lets it before a caller."""
    spool_dir: Path = Path(".tutelage/spool")
    """Each gateway process has its own."""
    spool_max_bytes: int = Field(1024**3, ge=1024**2)
    spool_fsync: Fsync = Fsync.INTERVAL
    max_open_calls: int = Field(120_000, ge=1)
    """More are refused with RESOURCE_EXHAUSTED. An open call takes 25 KB of memory and more."""
    max_request_bytes: int = Field(8 * 1024**2, ge=1024)
    """A larger message is refused by gRPC itself, with RESOURCE_EXHAUSTED; below, the limits of the request and of its
    task refuse by the field's name. What with its answers does not fit into a Kafka message of 4 MiB, or
    what the topic's max.message.bytes allows, is cut with a mark, and the whole kept in `refused/` of the spool."""
    request_limits: RequestLimits = RequestLimits()
    """As a JSON object: REQUEST_LIMITS='{"tools": 256}'."""
    repeat_max_entries: int = Field(10_000, ge=0)
    """Replies kept for callers who send a request_id again."""
    repeat_max_age_s: float = Field(600.0, ge=0)
    shutdown_grace_s: float = Field(10.0, ge=0)
    """How long open calls may go on after SIGTERM; then they end UNAVAILABLE."""

    @model_validator(mode="after")
    def _ports_can_be_shared(self) -> "GatewaySettings":
        for name, listen in (("GATEWAY_LISTEN", self.gateway_listen), ("HTTP_LISTEN", self.http_listen)):
            if self.gateway_processes > 1 and listen.endswith(":0"):
                raise ValueError(f"{name}: port 0 can't be shared by several processes: name one")
        return self
