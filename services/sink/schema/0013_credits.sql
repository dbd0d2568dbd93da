-- What a person took off what a key has spent: a row each, of the key as it was then.

ALTER TABLE keys ADD COLUMN IF NOT EXISTS credit_usd Decimal(38, 8) AFTER may_audit;
ALTER TABLE keys ADD COLUMN IF NOT EXISTS credited_by String AFTER credit_usd;

-- As before, but: a credit is a change of its own.
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
        SELECT *, toUnixTimestamp64Micro(revoked_at) > 0 AS gone, credit_usd != 0 AS credited,
               arrayStringConcat(arrayFilter(one -> notEmpty(one), [
                   if(may_audit, 'may audit', ''),
                   if(requests_per_minute > 0, concat(toString(requests_per_minute), ' requests/min'), ''),
                   if(tokens_per_minute > 0, concat(toString(tokens_per_minute), ' tokens/min'), ''),
                   if(usd_per_day > 0, concat('$', toString(usd_per_day), '/day'), ''),
                   if(usd_per_month > 0, concat('$', toString(usd_per_month), '/month'), '')
               ]), ', ') AS rights
        FROM keys FINAL
    )
SELECT at, who, 'promotion' AS what, task AS subject, [toString(task)] AS tasks, before, after, reason FROM served
UNION ALL
SELECT multiIf(gone, revoked_at, credited, updated_at, created_at), multiIf(gone, revoked_by, credited, credited_by, created_by),
       'key', concat(name, ' ', id), arrayMap(one -> toString(one), tasks), if(gone OR credited, 'good', ''),
       multiIf(gone, 'taken back', credited, concat('credited $', toString(credit_usd)),
               concat('good', if(empty(rights), '', concat(', ', rights)))), reason
FROM made
UNION ALL
SELECT at, decided_by, 'write-off', source, [], 'missing', concat('written off: ', toString(first), '-', toString(last)),
       reason
FROM written_off FINAL
UNION ALL
SELECT at, decided_by, 'erasure', concat('customer ', substring(digest, 1, 12)),
       arrayFilter(one -> notEmpty(one), [toString(task)]), 'kept', if(empty(receipt), 'being erased', 'erased'), ''
FROM erasures FINAL;
