-- Which keys may say that a call was drawn by lot, and that their word on it is not mixed with others'.

ALTER TABLE keys ADD COLUMN IF NOT EXISTS may_audit Bool AFTER usd_per_month;

-- As before, but: of a call that was drawn to be looked at whatever the answer was, only those who drew it say what is
-- right. Whoever else corrects or rates it does so because he was shown it.
CREATE OR REPLACE VIEW shadow_pairs AS
SELECT pair.id AS id, pair.task AS task, pair.group_key AS group_key, pair.kind AS kind, pair.question AS question,
       pair.policy AS policy, pair.promotion_id AS promotion_id, pair.student_version AS student_version,
       pair.probability AS probability, pair.answered_by AS answered_by, pair.agreed AS agreed,
       pair.confidence AS confidence, pair.teacher_model AS teacher_model, pair.teacher_answer AS teacher_answer,
       pair.teacher_refusal AS teacher_refusal, pair.teacher_latency_us AS teacher_latency_us,
       pair.teacher_cost_usd AS teacher_cost_usd, pair.student_answer AS student_answer,
       pair.student_refusal AS student_refusal, pair.student_latency_us AS student_latency_us,
       pair.student_cost_usd AS student_cost_usd, pair.asked_at AS asked_at, pair.compared_at AS compared_at,
       told.rating AS rating, told.correction AS correction, told.audited AS audited
FROM (SELECT * FROM shadows FINAL) AS pair
LEFT JOIN (
    -- The latest of each: an aggregate leaves out what is NULL.
    SELECT exchange_id, max(drawn) AS audited,
           if(audited, argMaxIf(said.rating, created_at, drawn), argMax(said.rating, created_at)) AS rating,
           if(audited, argMaxIf(said.correction, created_at, drawn), argMax(said.correction, created_at)) AS correction
    FROM (
        SELECT exchange_id, rating, correction, created_at, CAST(metrics['audit'] > 0 AS Bool) AS drawn
        FROM feedback FINAL WHERE exchange_id IN (SELECT id FROM shadows)
    ) AS said
    GROUP BY exchange_id
) AS told ON told.exchange_id = pair.id;

-- As before, but: the making of a key tells whether it may audit.
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
        SELECT *, toUnixTimestamp64Micro(revoked_at) > 0 AS gone,
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
SELECT if(gone, revoked_at, created_at), if(gone, revoked_by, created_by), 'key', concat(name, ' ', id),
       arrayMap(one -> toString(one), tasks), if(gone, 'good', ''),
       if(gone, 'taken back', concat('good', if(empty(rights), '', concat(', ', rights)))), reason
FROM made
UNION ALL
SELECT at, decided_by, 'write-off', source, [], 'missing', concat('written off: ', toString(first), '-', toString(last)),
       reason
FROM written_off FINAL
UNION ALL
SELECT at, decided_by, 'erasure', concat('customer ', substring(digest, 1, 12)),
       arrayFilter(one -> notEmpty(one), [toString(task)]), 'kept', if(empty(receipt), 'being erased', 'erased'), ''
FROM erasures FINAL;
