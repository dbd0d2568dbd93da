-- API keys, and who changed what.

-- One row when a key is made and one when it is taken back. What callers send, and its digest, stand nowhere here.
CREATE TABLE IF NOT EXISTS keys (
    id                   String,
    name                 String,
    tasks                Array(LowCardinality(String)),
    requests_per_minute  UInt32,
    tokens_per_minute    UInt64,
    usd_per_day          Decimal(38, 8),
    usd_per_month        Decimal(38, 8),
    created_by           String,
    created_at           DateTime64(6, 'UTC'),
    revoked_by           String,
    revoked_at           DateTime64(6, 'UTC'),
    reason               String CODEC(ZSTD),
    updated_at           DateTime64(6, 'UTC'),
    kafka_partition      Int32,
    kafka_offset         Int64
)
ENGINE = ReplacingMergeTree
ORDER BY (id, revoked_at, updated_at)
SETTINGS non_replicated_deduplication_window = 1000;

-- Who decided what, when, and why: promotions and rollbacks, keys, write-offs, erasures. `tasks` empty: of all, or of none.
-- `before` and `after` are for people. A key's row of no revocation is its making.
CREATE OR REPLACE VIEW changes AS
WITH
    served AS (
        SELECT decided_at AS at, decided_by AS who, task, reason,
               concat(policy,
                      multiIf(policy IN ('share', 'shadow'), concat(' ', toString(share)),
                              policy = 'cascade', concat(' at ', toString(min_confidence)), ''),
                      if(notEmpty(share_of_kind), concat(' ', toString(share_of_kind)), ''),
                      if(student_version > 0, concat(', student ', toString(student_version)), '')) AS after,
               lagInFrame(after, 1, 'teacher_only') OVER (
                   PARTITION BY task ORDER BY decided_at, id ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW
               ) AS before
        FROM promotions FINAL
    ),
    made AS (
        SELECT *, toUnixTimestamp64Micro(revoked_at) > 0 AS gone,
               arrayStringConcat(arrayFilter(one -> notEmpty(one), [
                   if(requests_per_minute > 0, concat(toString(requests_per_minute), ' requests/min'), ''),
                   if(tokens_per_minute > 0, concat(toString(tokens_per_minute), ' tokens/min'), ''),
                   if(usd_per_day > 0, concat('$', toString(usd_per_day), '/day'), ''),
                   if(usd_per_month > 0, concat('$', toString(usd_per_month), '/month'), '')
               ]), ', ') AS quota
        FROM keys FINAL
    )
SELECT at, who, 'promotion' AS what, task AS subject, [toString(task)] AS tasks, before, after, reason FROM served
UNION ALL
SELECT if(gone, revoked_at, created_at), if(gone, revoked_by, created_by), 'key', concat(name, ' ', id),
       arrayMap(one -> toString(one), tasks), if(gone, 'good', ''),
       if(gone, 'taken back', concat('good', if(empty(quota), '', concat(', ', quota)))), reason
FROM made
UNION ALL
SELECT at, decided_by, 'write-off', source, [], 'missing', concat('written off: ', toString(first), '-', toString(last)),
       reason
FROM written_off FINAL
UNION ALL
SELECT at, decided_by, 'erasure', concat('customer ', substring(digest, 1, 12)),
       arrayFilter(one -> notEmpty(one), [toString(task)]), 'kept', if(empty(receipt), 'being erased', 'erased'), ''
FROM erasures FINAL;
