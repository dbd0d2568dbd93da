-- Which sort of example a candidate is, and why it is a hard case.
ALTER TABLE candidates ADD COLUMN IF NOT EXISTS stratum LowCardinality(String) AFTER probability;
ALTER TABLE candidates ADD COLUMN IF NOT EXISTS hard Array(LowCardinality(String)) AFTER stratum;
