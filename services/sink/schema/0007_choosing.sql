-- Which sort of example a candidate is, where its task balances them in the stream, and why it is a hard case.
ALTER TABLE candidates ADD COLUMN IF NOT EXISTS stratum LowCardinality(String) AFTER probability;
ALTER TABLE candidates ADD COLUMN IF NOT EXISTS hard Array(LowCardinality(String)) AFTER stratum;
