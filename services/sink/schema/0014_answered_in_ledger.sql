-- Which of the exchanges that arrived were answered: a failed try that stands in the table does not stand for an answer of
-- its id that is gone. Of what came before this file that is not known: it is looked for by its id alone, for a day.
ALTER TABLE ledger ADD COLUMN IF NOT EXISTS answered Bool;
ALTER TABLE exchanges_to_ledger MODIFY QUERY
SELECT source, sequence, id, outcome = 'answered' AS answered FROM exchanges;
