-- What a ramp is decided by and leaves behind: the student's part of each kind of request, and what was looked at.

ALTER TABLE promotions ADD COLUMN IF NOT EXISTS share_of_kind Map(String, Float64) AFTER share;

-- Why a ramp stays where it is, at times; what it decided stands in `promotions`. Written by the controller.
CREATE TABLE IF NOT EXISTS ramp_looks (
    task             LowCardinality(String),
    at               DateTime64(6, 'UTC'),
    promotion_id     String,
    student_version  UInt32,
    reason           String CODEC(ZSTD)
)
ENGINE = ReplacingMergeTree
ORDER BY (task, at)
TTL toDateTime(at) + INTERVAL 400 DAY
SETTINGS non_replicated_deduplication_window = 1000;
