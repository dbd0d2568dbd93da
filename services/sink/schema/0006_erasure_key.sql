-- The secret under which erased customers are known by a digest (`services/erasures.py`). One row, which the sink makes
-- at its first start. It goes nowhere else: whoever has a receipt or a snapshot, but not this, cannot try group keys.
-- Without it nobody who was erased is recognised any more, so it belongs into every backup of `erasures`.
CREATE TABLE IF NOT EXISTS erasure_key (
    key      String,
    made_at  DateTime64(6, 'UTC')
)
ENGINE = MergeTree
ORDER BY made_at
SETTINGS non_replicated_deduplication_window = 1000;
