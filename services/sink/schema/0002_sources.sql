-- What the audit asks: how far each source says it has come, and which of its sequences have arrived.

-- The last row of a source that goes on, and beside it that of its end: a gateway that took over the spool of one that
-- lost its disk's last writes closes it with fewer than that one said it had. The audit takes the most that was said.
CREATE TABLE IF NOT EXISTS sources (
    source                    String,
    ended                     Bool,
    last_sequence             UInt64 CODEC(T64, ZSTD),
    acknowledged              UInt64 CODEC(T64, ZSTD),
    put_aside                 UInt64 CODEC(T64, ZSTD),
    oldest_unacknowledged_at  DateTime64(6, 'UTC'),
    at                        DateTime64(6, 'UTC'),
    host                      LowCardinality(String),
    kafka_partition           Int32,
    kafka_offset              Int64,
    inserted_at               DateTime('UTC') DEFAULT now('UTC')
)
ENGINE = ReplacingMergeTree(at)
ORDER BY (source, ended)
SETTINGS non_replicated_deduplication_window = 1000;

-- The sequences that arrived, as a bitmap for each 2^20 of them: a whole million takes some dozen bytes, so that the
-- audit counts years of exchanges in milliseconds. What comes twice sets the same bit, in whatever batch it comes.
-- It outlives the TTL of `ledger` and `exchanges`: what was stored once is not missing when its time is over.
CREATE TABLE IF NOT EXISTS ledger_blocks (
    source  String,
    block   UInt64,
    last    SimpleAggregateFunction(max, UInt64),
    seen    AggregateFunction(groupBitmap, UInt64)
)
ENGINE = AggregatingMergeTree
ORDER BY (source, block)
SETTINGS non_replicated_deduplication_window = 1000;

-- From the ledger, not from exchanges: there also stand those that are not kept, as their customer was erased.
CREATE MATERIALIZED VIEW IF NOT EXISTS ledger_to_ledger_blocks TO ledger_blocks
AS SELECT source, intDiv(sequence - 1, 1048576) AS block, max(sequence) AS last, groupBitmapState(sequence) AS seen
FROM ledger WHERE sequence > 0 GROUP BY source, block;

-- What came before this file. It may run again: the same bits are set.
INSERT INTO ledger_blocks (source, block, last, seen)
SELECT source, intDiv(sequence - 1, 1048576) AS block, max(sequence) AS last, groupBitmapState(sequence) AS seen
FROM ledger WHERE sequence > 0 GROUP BY source, block;
