-- Calls about which both backends were asked: one answered the caller, the other unseen.

CREATE TABLE IF NOT EXISTS shadows (
    id                  UUID,  -- The exchange's.
    task                LowCardinality(String),
    group_key           String CODEC(ZSTD),
    kind                LowCardinality(String),
    question            String CODEC(ZSTD(3)),
    policy              LowCardinality(String),
    promotion_id        LowCardinality(String),
    student_version     UInt32,
    probability         Float64 CODEC(ZSTD),
    answered_by         LowCardinality(String),
    agreed              Nullable(Bool),  -- NULL where a text has many good answers, or one of the two has none.
    confidence          Nullable(Float64) CODEC(ZSTD),
    teacher_model       LowCardinality(String),
    teacher_answer      String CODEC(ZSTD(3)),
    teacher_refusal     String CODEC(ZSTD),
    teacher_latency_us  UInt64 CODEC(T64, ZSTD),
    teacher_cost_usd    Decimal(18, 8) CODEC(T64, ZSTD),
    student_answer      String CODEC(ZSTD(3)),
    student_refusal     String CODEC(ZSTD),  -- Of the validators, or why there is no answer; not for its confidence.
    student_latency_us  UInt64 CODEC(T64, ZSTD),
    student_cost_usd    Decimal(18, 8) CODEC(T64, ZSTD),
    asked_at            DateTime64(6, 'UTC') CODEC(DoubleDelta, ZSTD),
    compared_at         DateTime64(6, 'UTC') CODEC(DoubleDelta, ZSTD),
    kafka_partition     Int32 CODEC(T64, ZSTD),
    kafka_offset        Int64 CODEC(Delta, ZSTD),
    inserted_at         DateTime('UTC') DEFAULT now('UTC') CODEC(DoubleDelta, ZSTD)
)
ENGINE = ReplacingMergeTree(compared_at)
PARTITION BY toDate(UUIDv7ToDateTime(id, 'UTC'))
ORDER BY (task, id)
TTL inserted_at + INTERVAL 400 DAY
SETTINGS non_replicated_deduplication_window = 1000;

-- The pairs, each once, with what people said of the call since. `audited`: the caller says that the call was chosen to
-- be looked at whatever the answer was (metric `audit` above 0), so that its truth is no complaint's.
CREATE VIEW IF NOT EXISTS shadow_pairs AS
SELECT pair.id AS id, pair.task AS task, pair.group_key AS group_key, pair.kind AS kind, pair.question AS question,
       pair.policy AS policy, pair.promotion_id AS promotion_id, pair.student_version AS student_version,
       pair.probability AS probability, pair.answered_by AS answered_by, pair.agreed AS agreed,
       pair.confidence AS confidence, pair.teacher_model AS teacher_model, pair.teacher_answer AS teacher_answer,
       pair.teacher_refusal AS teacher_refusal, pair.teacher_latency_us AS teacher_latency_us,
       pair.teacher_cost_usd AS teacher_cost_usd, pair.student_answer AS student_answer,
       pair.student_refusal AS student_refusal, pair.student_latency_us AS student_latency_us,
       pair.student_cost_usd AS student_cost_usd, pair.asked_at AS asked_at, pair.compared_at AS compared_at,
       told.rating AS rating, told.correction AS correction, told.audited AS audited
FROM (SELECT * FROM shadows FINAL) AS pair
LEFT JOIN (
    -- The latest of each: an aggregate leaves out what is NULL.
    SELECT exchange_id, argMax(feedback.rating, created_at) AS rating,
           argMax(feedback.correction, created_at) AS correction, CAST(max(metrics['audit'] > 0) AS Bool) AS audited
    FROM feedback FINAL WHERE exchange_id IN (SELECT id FROM shadows) GROUP BY exchange_id
) AS told ON told.exchange_id = pair.id;

-- What the calls say of a task's target for its cascade, as the controller finds it: a row where it finds something else.
CREATE TABLE IF NOT EXISTS calibrations (
    task             LowCardinality(String),
    at               DateTime64(6, 'UTC'),
    student_version  UInt32,
    outcome          LowCardinality(String),  -- met, unproven, unreachable
    threshold        Float64,                 -- The one found; 0 keeps nothing.
    kept             Float64,
    error            Float64,
    bound            Float64,
    rows             UInt32,
    reason           String CODEC(ZSTD)
)
ENGINE = ReplacingMergeTree
ORDER BY (task, at)
SETTINGS non_replicated_deduplication_window = 1000;
