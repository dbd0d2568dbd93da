"""The gateway's settings, each from the environment variable of its name in upper case."""

from pathlib import Path
from typing import Literal

from pydantic import Field, SecretStr, model_validator

from services.gateway.checks import RequestLimits
from services.gateway.sockets import connections_most
from services.gateway.spool import Fsync
from services.gateway.teacher_wire import HttpVersion, Resumes
from services.settings import ControlTrust, Listen, ListenOrNot, ServiceSettings, on_loopback
from services.tls import ServerFiles, server_files


class GatewaySettings(ServiceSettings, ControlTrust):
    """Where the gateway listens, whom it asks, and how much it takes on."""

    gateway_listen: Listen = "127.0.0.1:50051"
    """host:port; port 0 takes a free one."""
    require_keys: bool | None = None
    """Whether callers must send an API key, as `tutelage key create` makes them. Unset: beyond loopback they must, and
    on loopback they need not. `false` beyond loopback leaves it to whatever stands before the gateway."""
    gateway_tls_cert: Path | None = None
    """A PEM file: its certificate, with what leads to the root. With it gRPC is spoken over TLS alone. New files in the
    place of old ones are taken up without a restart."""
    gateway_tls_key: Path | None = None
    """A PEM file: the certificate's key, without a password."""
    gateway_tls_client_ca: Path | None = None
    """A PEM file: the roots of callers' certificates. With it nobody is let in without one (mTLS)."""
    http_listen: ListenOrNot = "127.0.0.1:8080"
    """host:port of the OpenAI-compatible HTTP beside gRPC, over TLS where gRPC is; port 0 takes a free one, empty is no
    HTTP."""
    http_idle_s: float = Field(65.0, gt=0)
    """How long an HTTP connection may be silent, or take to say a request's head, before it is closed. Longer than a
    balancer before it keeps one that it does not use, so that the balancer closes it first: nginx and AWS' 60 s,
    Google's 600 s."""
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
    otel_exporter_otlp_endpoint: str = Field("", pattern=r"^(https?://.+)?$")
    """Where traces go: a collector that speaks OTLP over gRPC, http://127.0.0.1:4317. Empty sends none. Which are
    sampled OTEL_TRACES_SAMPLER says, as everywhere."""
    triton_grpc_address: str = Field("127.0.0.1:8001", pattern=r"^[^,\s]+:\d+(,[^,\s]+:\d+)*$")
    """host:port; several with commas between them are replicas, which serve the same students."""
    triton_max_calls: int = Field(120_000, ge=1)
    """In flight to one Triton at a time; more fail, and the teacher answers. Each takes some 5 KB and its request."""
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
    """More are refused with RESOURCE_EXHAUSTED. An open call takes 20 KB of memory and more."""
    max_connections: int | None = Field(None, ge=1)
    """Connections of callers that a process holds, at both doors together; more are closed with a word why. Unset: what
    `ulimit -n` leaves beside TEACHER_MAX_CALLS, since without an open file left the spool can't write."""
    max_request_bytes: int = Field(8 * 1024**2, ge=1024)
    """A larger message is refused by gRPC itself, with RESOURCE_EXHAUSTED; below, the limits of the request and of its
    task refuse by the field's name. What with its answers does not fit into a Kafka message of 4 MiB, or
    what the topic's max.message.bytes allows, is cut with a mark, and the whole kept in `refused/` of the spool."""
    request_limits: RequestLimits = RequestLimits()
    """As a JSON object: REQUEST_LIMITS='{"tools": 256}'."""
    repeat_max_bytes: int = Field(64 * 1024**2, ge=0)
    """Memory of replies kept for callers who send a request_id again: of a kilobyte each, some 40,000."""
    repeat_max_age_s: float = Field(600.0, ge=0)
    shutdown_grace_s: float = Field(10.0, ge=0)
    """How long open calls may go on after SIGTERM; then they end UNAVAILABLE."""

    @model_validator(mode="after")
    def _ports_can_be_shared(self) -> "GatewaySettings":
        for name, listen in (("GATEWAY_LISTEN", self.gateway_listen), ("HTTP_LISTEN", self.http_listen)):
            if self.gateway_processes > 1 and listen.endswith(":0"):
                raise ValueError(f"{name}: port 0 can't be shared by several processes: name one")
        return self

    @model_validator(mode="after")
    def _tls_files_go_together(self) -> "GatewaySettings":
        _ = self.tls
        return self

    @property
    def tls(self) -> ServerFiles | None:
        """What it speaks TLS with; None where it does not. Raises ValueError where one file lacks the other."""
        return server_files("GATEWAY_TLS", self.gateway_tls_cert, self.gateway_tls_key, self.gateway_tls_client_ca)

    @property
    def keys_required(self) -> bool:
        """Whether a call without a good key is refused."""
        if self.require_keys is not None:
            return self.require_keys
        return not self.on_loopback

    @property
    def connections_most(self) -> int:
        """How many connections of callers a process holds."""
        return self.max_connections or connections_most(self.teacher_max_calls)

    @property
    def on_loopback(self) -> bool:
        """Whether it listens there alone."""
        return all(on_loopback(listen) for listen in (self.gateway_listen, self.http_listen) if listen)

    @property
    def triton_grpc_addresses(self) -> list[str]:
        """Each once."""
        return list(dict.fromkeys(self.triton_grpc_address.split(",")))
