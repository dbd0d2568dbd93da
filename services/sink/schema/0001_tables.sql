-- Exchanges, feedback, candidates, runs, promotions as they come from Kafka; golden as the controller writes it.
--
-- Delivery is at least once, so every table folds what came twice: ReplacingMergeTree on the id, and the partition
-- follows from the id alone (the day that a UUIDv7 carries; 1970-01-01 for other UUIDs), because rows of different
-- partitions are never folded. Money is Decimal, durations are microseconds, times are UTC.
-- A statement ends with a semicolon at the end of a line.

CREATE TABLE IF NOT EXISTS exchanges (
    id                 UUID,
    task               LowCardinality(String),
    source             LowCardinality(String),
    sequence           UInt64 CODEC(Delta, ZSTD),
    origin             LowCardinality(String),
    outcome            LowCardinality(String),
    error              String CODEC(ZSTD),
    answered_by        LowCardinality(String),
    model              LowCardinality(String),
    student_version    UInt32,
    why                String CODEC(ZSTD),
    group_key          String CODEC(ZSTD),
    kind               LowCardinality(String),
    question           String CODEC(ZSTD(3)),
    request            String CODEC(ZSTD(3)),
    answer             String CODEC(ZSTD(3)),
    finish             LowCardinality(String),
    prompt_tokens      UInt32 CODEC(T64, ZSTD),
    completion_tokens  UInt32 CODEC(T64, ZSTD),
    cost_usd           Decimal(18, 8) CODEC(T64, ZSTD),
    latency_us         UInt64 CODEC(T64, ZSTD),
    first_token_us     UInt64 CODEC(T64, ZSTD),
    teacher_us         UInt64 CODEC(T64, ZSTD),
    student_us         UInt64 CODEC(T64, ZSTD),
    confidence         Nullable(Float64) CODEC(ZSTD),
    refusal            String CODEC(ZSTD),
    attempts           String CODEC(ZSTD(3)),  -- JSON; of the one that answered, without what stands in other columns.
    metadata           Map(LowCardinality(String), String) CODEC(ZSTD),
    started_at         DateTime64(6, 'UTC') CODEC(DoubleDelta, ZSTD),
    finished_at        DateTime64(6, 'UTC') CODEC(DoubleDelta, ZSTD),
    kafka_partition    Int32 CODEC(T64, ZSTD),
    kafka_offset       Int64 CODEC(Delta, ZSTD),
    inserted_at        DateTime('UTC') DEFAULT now('UTC') CODEC(DoubleDelta, ZSTD),
    -- Of two exchanges of one id an answered one wins, then the later one.
    version            UInt64 MATERIALIZED toUnixTimestamp64Micro(finished_at)
                                           + if(outcome = 'answered', 9000000000000000000, 0) CODEC(T64, ZSTD),
    INDEX by_id id TYPE bloom_filter GRANULARITY 4,
    INDEX by_start started_at TYPE minmax GRANULARITY 1
)
ENGINE = ReplacingMergeTree(version)
PARTITION BY toDate(UUIDv7ToDateTime(id, 'UTC'))
ORDER BY (task, id)
TTL inserted_at + INTERVAL 400 DAY
SETTINGS non_replicated_deduplication_window = 1000;

-- What arrived of what each source numbered 1, 2, 3 ...: missing = max(sequence) - uniqExact(sequence) per source,
-- also where one id was answered twice and `exchanges` keeps the one.
CREATE TABLE IF NOT EXISTS ledger (
    source       LowCardinality(String),
    sequence     UInt64 CODEC(Delta, ZSTD),
    id           UUID,
    inserted_at  DateTime('UTC') DEFAULT now('UTC') CODEC(DoubleDelta, ZSTD)
)
ENGINE = ReplacingMergeTree
ORDER BY (source, sequence)
TTL inserted_at + INTERVAL 400 DAY
SETTINGS non_replicated_deduplication_window = 1000;

CREATE MATERIALIZED VIEW IF NOT EXISTS exchanges_to_ledger TO ledger
AS SELECT source, sequence, id FROM exchanges;

CREATE TABLE IF NOT EXISTS feedback (
    id               UUID,
    exchange_id      UUID,
    task             LowCardinality(String),
    group_key        String CODEC(ZSTD),
    rating           Nullable(Float64) CODEC(ZSTD),
    metrics          Map(LowCardinality(String), Float64) CODEC(ZSTD),
    correction       Nullable(String) CODEC(ZSTD(3)),
    comment          String CODEC(ZSTD(3)),
    created_at       DateTime64(6, 'UTC') CODEC(DoubleDelta, ZSTD),
    kafka_partition  Int32 CODEC(T64, ZSTD),
    kafka_offset     Int64 CODEC(Delta, ZSTD),
    inserted_at      DateTime('UTC') DEFAULT now('UTC') CODEC(DoubleDelta, ZSTD)
)
ENGINE = ReplacingMergeTree
PARTITION BY toDate(UUIDv7ToDateTime(exchange_id, 'UTC'))
ORDER BY (exchange_id, id)
TTL inserted_at + INTERVAL 400 DAY
SETTINGS non_replicated_deduplication_window = 1000;

CREATE TABLE IF NOT EXISTS candidates (
    id               UUID,
    task             LowCardinality(String),
    split            LowCardinality(String),
    request          String CODEC(ZSTD(3)),
    question         String CODEC(ZSTD(3)),
    kind             LowCardinality(String),
    group_key        String CODEC(ZSTD),
    answer           String CODEC(ZSTD(3)),
    corrected        Bool,
    reason           String CODEC(ZSTD),
    probability      Float64 CODEC(ZSTD),
    excluded         Bool,
    teacher_answer   String CODEC(ZSTD(3)),
    teacher_model    LowCardinality(String),
    decided_at       DateTime64(6, 'UTC') CODEC(DoubleDelta, ZSTD),
    kafka_partition  Int32 CODEC(T64, ZSTD),
    kafka_offset     Int64 CODEC(Delta, ZSTD),
    inserted_at      DateTime('UTC') DEFAULT now('UTC') CODEC(DoubleDelta, ZSTD)
)
ENGINE = ReplacingMergeTree(decided_at)
PARTITION BY toDate(UUIDv7ToDateTime(id, 'UTC'))
ORDER BY (task, id)
TTL inserted_at + INTERVAL 400 DAY
SETTINGS non_replicated_deduplication_window = 1000;

CREATE TABLE IF NOT EXISTS runs (
    id               String,
    task             LowCardinality(String),
    state            LowCardinality(String),
    snapshot         UInt32,
    student_version  UInt32,
    config           String CODEC(ZSTD(3)),
    report           String CODEC(ZSTD(3)),
    report_path      String,
    promoted         Bool,
    reason           String CODEC(ZSTD),
    started_at       DateTime64(6, 'UTC'),
    updated_at       DateTime64(6, 'UTC'),
    kafka_partition  Int32,
    kafka_offset     Int64
)
ENGINE = ReplacingMergeTree(updated_at)
ORDER BY (task, id)
SETTINGS non_replicated_deduplication_window = 1000;

CREATE TABLE IF NOT EXISTS promotions (
    id                        String,
    task                      LowCardinality(String),
    policy                    LowCardinality(String),
    share                     Float64,
    min_confidence            Float64,
    student_version           UInt32,
    reason                    String CODEC(ZSTD),
    run_id                    String,
    decided_by                String,
    decided_at                DateTime64(6, 'UTC'),
    previous_policy           LowCardinality(String),
    previous_student_version  UInt32,
    kafka_partition           Int32,
    kafka_offset              Int64
)
ENGINE = ReplacingMergeTree
ORDER BY (task, decided_at, id)
SETTINGS non_replicated_deduplication_window = 1000;

-- Written by the controller. The id is a hash of the input, so that an input given again replaces its truth.
CREATE TABLE IF NOT EXISTS golden (
    task       LowCardinality(String),
    id         String,
    input      String CODEC(ZSTD(3)),
    truth      String CODEC(ZSTD(3)),
    group_key  String,
    kind       LowCardinality(String),
    metadata   Map(LowCardinality(String), String),
    added_at   DateTime64(6, 'UTC')
)
ENGINE = ReplacingMergeTree(added_at)
ORDER BY (task, id)
SETTINGS non_replicated_deduplication_window = 1000;
