-- The audit as a query: what each source answered, what Kafka and ClickHouse have of it, and what is missing.

-- How far Kafka was with each source, minute by minute: what it had a minute ago and is not stored now is missing, and
-- what is younger may be in the sink's hands.
CREATE TABLE IF NOT EXISTS sources_by_minute (
    source        String,
    minute        DateTime('UTC'),
    acknowledged  SimpleAggregateFunction(max, UInt64)
)
ENGINE = AggregatingMergeTree
ORDER BY (source, minute)
TTL minute + INTERVAL 1 DAY
SETTINGS non_replicated_deduplication_window = 1000;

CREATE MATERIALIZED VIEW IF NOT EXISTS sources_to_sources_by_minute TO sources_by_minute
AS SELECT source, toStartOfMinute(inserted_at) AS minute, max(sources.acknowledged) AS acknowledged
FROM sources GROUP BY source, minute;

-- One row per source. `state`: open; ended; silent, if it has not ended nor been heard of for 90 s; untold, if nobody ever
-- said how far it was. `missing` counts dead letters, too: those are known to Kafka alone, and to `tutelage audit`.
CREATE VIEW IF NOT EXISTS audit AS
WITH
    told AS (
        SELECT source, max(last_sequence) AS said, max(sources.acknowledged) AS acked, max(sources.ended) AS ended,
               max(inserted_at) AS heard, argMax(oldest_unacknowledged_at, sources.at) AS oldest
        FROM sources GROUP BY source
    ),
    earlier AS (
        SELECT source, max(sources_by_minute.acknowledged) AS acked
        FROM sources_by_minute WHERE minute < toStartOfMinute(now('UTC') - INTERVAL 1 MINUTE) GROUP BY source
    ),
    blocks AS (
        SELECT source, block * 1048576 AS begin, max(ledger_blocks.last) AS end,
               groupBitmapMergeState(seen) AS here, bitmapCardinality(here) AS count
        FROM ledger_blocks GROUP BY source, block
    ),
    arrived AS (SELECT source, max(end) AS last, sum(count) AS stored FROM blocks GROUP BY source),
    accounts AS (
        SELECT source,
               multiIf(told.heard = toDateTime(0, 'UTC'), 'untold', told.ended, 'ended',
                       told.heard < now('UTC') - INTERVAL 90 SECOND, 'silent', 'open') AS state,
               greatest(told.said, arrived.last) AS answered,
               if(state IN ('untold', 'ended'), answered, least(told.acked, answered)) AS on_kafka,
               arrived.stored AS stored,
               multiIf(state IN ('untold', 'silent'), answered,
                       told.heard < now('UTC') - INTERVAL 1 MINUTE, on_kafka,
                       least(earlier.acked, answered)) AS due,
               told.heard AS heard_at,
               if(told.ended OR told.oldest = toDateTime64(0, 6, 'UTC'), 0,
                  greatest(0, dateDiff('second', told.oldest, now('UTC')))) AS oldest_unacknowledged_s
        FROM arrived FULL JOIN told USING (source) LEFT JOIN earlier USING (source)
    )
SELECT source, any(accounts.state) AS state, any(accounts.answered) AS answered, any(accounts.on_kafka) AS on_kafka,
       any(accounts.stored) AS stored,
       any(accounts.due) - sum(multiIf(due >= blocks.end, blocks.count, due <= blocks.begin, 0,
           bitmapCardinality(bitmapSubsetInRange(blocks.here, blocks.begin, due + 1)))) AS missing,
       any(accounts.oldest_unacknowledged_s) AS oldest_unacknowledged_s, any(accounts.heard_at) AS heard_at
FROM accounts LEFT JOIN blocks USING (source)
GROUP BY source;
