-- How an exchange came to its end, whether its answer is another call's, and with which key it came.
ALTER TABLE exchanges ADD COLUMN IF NOT EXISTS end LowCardinality(String) AFTER outcome;
ALTER TABLE exchanges ADD COLUMN IF NOT EXISTS cached Bool AFTER end;
ALTER TABLE exchanges ADD COLUMN IF NOT EXISTS key_id LowCardinality(String) AFTER origin;
