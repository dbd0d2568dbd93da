-- What a person has said is lost, as `tutelage audit write-off` writes it: ranges of sequences that were missing then.

-- A row lies within one block of 2^20 sequences, as `ledger_blocks` has them. No TTL: what is lost stays lost. What of it
-- turns up after all is counted as stored, and its row stays.
CREATE TABLE IF NOT EXISTS written_off (
    source      String,
    first       UInt64,
    last        UInt64,
    reason      String,
    decided_by  String,
    at          DateTime64(6, 'UTC'),
    CONSTRAINT within_a_block CHECK first > 0 AND first <= last
                                AND intDiv(first - 1, 1048576) = intDiv(last - 1, 1048576)
)
ENGINE = ReplacingMergeTree(at)
ORDER BY (source, first, last)
SETTINGS non_replicated_deduplication_window = 1000;

-- The view of 0004, and what was written off. One row per source. `state`: open; ended; silent, if it has not ended nor
-- been heard of for 90 s; untold, if nobody ever said how far it was. `on_kafka`: what is stored was there, be it told as
-- yet or not. `missing` counts dead letters, too: those are known to Kafka alone, and to `tutelage audit`.
-- `written_off`: said to be lost, and still not stored; not among the missing.
CREATE OR REPLACE VIEW audit AS
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
    arrived AS (
        SELECT source, block, max(ledger_blocks.last) AS last, groupBitmapMergeState(seen) AS here
        FROM ledger_blocks GROUP BY source, block
    ),
    gone AS (
        SELECT source, toUInt64(intDiv(first - 1, 1048576)) AS block,
               groupBitmapOrState(bitmapBuild(range(first, written_off.last + 1))) AS lost
        FROM written_off GROUP BY source, block
    ),
    stored AS (SELECT source, max(last) AS last, sum(bitmapCardinality(here)) AS count FROM arrived GROUP BY source),
    -- Every block with something in it: `known` is what is accounted for, be it here or written off.
    blocks AS (
        SELECT source, block * 1048576 AS begin, bitmapOr(here, gone.lost) AS known, bitmapCardinality(known) AS count,
               bitmapMax(known) AS end, bitmapAndnot(gone.lost, here) AS lost
        FROM arrived FULL JOIN gone USING (source, block)
    ),
    accounts AS (
        SELECT source,
               multiIf(told.heard = toDateTime(0, 'UTC'), 'untold', told.ended, 'ended',
                       told.heard < now('UTC') - INTERVAL 90 SECOND, 'silent', 'open') AS state,
               greatest(told.said, stored.last) AS answered,
               if(state IN ('untold', 'ended'), answered, least(told.acked, answered)) AS on_kafka,
               stored.count AS stored,
               multiIf(state IN ('untold', 'silent'), answered,
                       told.heard < now('UTC') - INTERVAL 1 MINUTE, on_kafka,
                       least(earlier.acked, answered)) AS due,
               told.heard AS heard_at,
               if(told.ended OR told.oldest = toDateTime64(0, 6, 'UTC'), 0,
                  greatest(0, dateDiff('second', told.oldest, now('UTC')))) AS oldest_unacknowledged_s
        FROM stored FULL JOIN told USING (source) LEFT JOIN earlier USING (source)
    )
SELECT source, any(accounts.state) AS state, any(accounts.answered) AS answered,
       greatest(any(accounts.on_kafka), any(accounts.stored)) AS on_kafka, any(accounts.stored) AS stored,
       any(accounts.due) - sum(multiIf(due >= blocks.end, blocks.count, due <= blocks.begin, 0,
           bitmapCardinality(bitmapSubsetInRange(blocks.known, blocks.begin, due + 1)))) AS missing,
       sum(multiIf(accounts.answered <= blocks.begin, 0,
           bitmapCardinality(bitmapSubsetInRange(blocks.lost, blocks.begin, accounts.answered + 1)))) AS written_off,
       any(accounts.oldest_unacknowledged_s) AS oldest_unacknowledged_s, any(accounts.heard_at) AS heard_at
FROM accounts LEFT JOIN blocks USING (source)
GROUP BY source;
