-- How long tables keep their rows, and who was erased.

-- The TTL that each table was given for the tasks' own retention; a table without a row has that of its CREATE.
CREATE TABLE IF NOT EXISTS retention (
    name        LowCardinality(String),
    ttl         String,
    applied_at  DateTime64(6, 'UTC')
)
ENGINE = ReplacingMergeTree(applied_at)
ORDER BY name
SETTINGS non_replicated_deduplication_window = 1000;

-- One row per erasure, replaced by itself with its receipt when it is done. The customer is known by the SHA-256 of
-- the group key alone; an empty task means all. The sink holds rows that come again against this table, so it stays.
CREATE TABLE IF NOT EXISTS erasures (
    id          UUID,
    digest      String,
    task        LowCardinality(String),
    at          DateTime64(6, 'UTC'),
    decided_by  String,
    receipt     String CODEC(ZSTD(3)),
    written_at  DateTime64(6, 'UTC')
)
ENGINE = ReplacingMergeTree(written_at)
ORDER BY id
SETTINGS non_replicated_deduplication_window = 1000;

-- Which exchanges went: feedback may name one without a group key.
CREATE TABLE IF NOT EXISTS erased_exchanges (
    id       UUID,
    erasure  UUID
)
ENGINE = ReplacingMergeTree
ORDER BY (id, erasure)
SETTINGS non_replicated_deduplication_window = 1000;
