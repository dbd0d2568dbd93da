"""The log's format, every metric's name, and the place where Prometheus reads them."""

import logging
import sys

import structlog
from prometheus_client import Counter, Gauge, Histogram, start_http_server

log = structlog.stdlib.get_logger("tutelage")

LATENCY_BUCKETS_S = (0.01, 0.025, 0.05, 0.1, 0.2, 0.35, 0.5, 0.75, 1, 1.5, 2.5, 5, 10, 30, 60)

EXCHANGES = Counter("tutelage_exchanges_total", "Exchanges finished.", ("task", "answered_by", "outcome"))
LATENCY = Histogram(
    "tutelage_latency_seconds", "Arrival to whole answer.", ("task", "answered_by"), buckets=LATENCY_BUCKETS_S
)
# By OpenTelemetry's conventions for generative AI: names, labels and buckets. The gateway is its callers' server and a
# client of teacher and student; the model that is asked is the task.
_GEN_AI = ("gen_ai_operation_name", "gen_ai_provider_name", "gen_ai_request_model", "gen_ai_response_model")
_GEN_AI_BUCKETS_S = tuple(0.01 * 2**power for power in range(14))
GEN_AI_DURATION = Histogram(
    "gen_ai_server_request_duration_seconds",
    "Arrival to the end of the call.",
    (*_GEN_AI, "error_type"),
    buckets=_GEN_AI_BUCKETS_S,
)
GEN_AI_FIRST_TOKEN = Histogram(
    "gen_ai_server_time_to_first_token_seconds",
    "Arrival to the first text of a stream.",
    _GEN_AI,
    buckets=(0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10),
)
GEN_AI_PER_TOKEN = Histogram(
    "gen_ai_server_time_per_output_token_seconds",
    "From token to token of a stream, after the first and on the average of an answer that was kept.",
    _GEN_AI,
    buckets=(0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1, 2.5),
)
GEN_AI_ASKED = Histogram(
    "gen_ai_client_operation_duration_seconds",
    "A backend's part of a call, from the question to its end.",
    (*_GEN_AI, "error_type"),
    buckets=_GEN_AI_BUCKETS_S,
)
GEN_AI_FIRST_CHUNK = Histogram(
    "gen_ai_client_operation_time_to_first_chunk_seconds",
    "From the question to a backend to the first text of its stream.",
    _GEN_AI,
    buckets=_GEN_AI_BUCKETS_S,
)
GEN_AI_TOKENS = Histogram(
    "gen_ai_client_token_usage",
    "Tokens that a backend read and wrote for a call, its answer kept or not.",
    (*_GEN_AI, "gen_ai_token_type"),
    buckets=tuple(4**power for power in range(14)),
)
COST = Counter("tutelage_cost_usd_total", "Dollars spent.", ("task", "backend"))
REFUSALS = Counter("tutelage_student_refusals_total", "Student answers not kept.", ("task", "reason"))
BREAKER = Gauge(
    "tutelage_breaker_state",
    "Whether a backend, of students the one that serves, is asked: 0 yes, 1 by one call that tries, 2 no.",
    ("task", "backend"),
)
HEDGES = Counter("tutelage_hedges_total", "Calls that asked a second backend, and who answered.", ("task", "won"))
TAKEOVERS = Counter(
    "tutelage_takeovers_total", "Streams that went over to another backend in their midst.", ("task", "how")
)
IMPLAUSIBLE = Counter(
    "tutelage_implausible_usage_total", "Teacher's answers whose usage can't be, and was estimated instead.", ("task",)
)
OPEN_CALLS = Gauge("tutelage_open_calls", "Calls being answered.")
TRITON_CALLS = Gauge("tutelage_triton_calls", "Asks that are with a Triton.", ("replica",))
TRITON_EJECTED = Gauge(
    "tutelage_triton_ejected", "1 while a Triton gets no calls but trials, as it failed.", ("replica",)
)
SPOOL_BYTES = Gauge("tutelage_spool_bytes", "Bytes on disk that Kafka has not acknowledged.")
SPOOL_STALLED = Gauge("tutelage_spool_stalled_seconds", "How long Kafka has acknowledged nothing of what waits.")
SPOOL_FAILED = Gauge("tutelage_spool_failed", "1 while the spool cannot be written and calls are refused.")
PROMOTED_VERSION = Gauge("tutelage_promoted_student_version", "The student version that serves; 0 for none.", ("task",))
CONSUMED = Counter("tutelage_consumed_total", "Messages consumed.", ("topic",))
INSERTED = Counter("tutelage_inserted_rows_total", "Rows inserted into ClickHouse.", ("table",))
DEAD = Counter("tutelage_dead_letters_total", "Messages sent to the dead letters.", ("topic",))
ERASED = Counter("tutelage_erased_rows_total", "Rows of erased customers that came again and went.", ("topic",))
PAUSED = Gauge(
    "tutelage_paused", "1 while consumption is paused because an outside system is overloaded.", ("service",)
)
CANDIDATES = Counter("tutelage_candidates_total", "What the sampler decided.", ("task", "decision"))
RUNS = Counter("tutelage_runs_total", "Runs ended.", ("task", "result"))

AUDIT = Gauge("tutelage_audit_exchanges", "Exchanges in the ledger, by what became of them.", ("state",))
AUDIT_OLDEST = Gauge("tutelage_audit_oldest_unacknowledged_seconds", "Age of the oldest that Kafka has not, of all.")
AUDIT_SOURCES = Gauge("tutelage_audit_sources", "Sources in the ledger.")
AUDIT_SILENT = Gauge(
    "tutelage_audit_silent_sources",
    "Sources that have not ended nor been heard of: their last second may be in a spool.",
)
AUDIT_SOURCE = Gauge(
    "tutelage_audit_source_exchanges",
    "The same of single sources: those that go on or lack something, at most 50.",
    ("source", "state"),
)
AUDIT_SOURCE_OLDEST = Gauge(
    "tutelage_audit_source_oldest_unacknowledged_seconds", "Age of the oldest that Kafka has not.", ("source",)
)
AUDIT_AT = Gauge("tutelage_audit_time_seconds", "When the last audit was made, in seconds since 1970.")


def start(service: str, level: str, metrics_listen: str) -> None:
    """Log JSON lines to stderr at `level`, tagged with the service, and serve metrics at host:port ('' for none)."""
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.stdlib.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            structlog.processors.JSONRenderer(),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[level.upper()]),
        logger_factory=structlog.WriteLoggerFactory(file=sys.stderr),
    )
    structlog.contextvars.bind_contextvars(service=service)
    if metrics_listen:
        host, _, port = metrics_listen.rpartition(":")
        server, _thread = start_http_server(int(port), addr=host.strip("[]"))
        log.info("metrics are served", listen=metrics_listen, port=server.server_port)
