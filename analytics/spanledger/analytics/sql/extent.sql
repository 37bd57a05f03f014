-- From when to when the ledger reaches, and when it last learned of something, one row; nulls when it is empty.
select
    min(occurred_at)                  as first_at,
    max(occurred_at)                  as last_at,
    max(recorded_at)                  as recorded_at,
    count(*)::bigint                  as entries,
    coalesce(sum(calls), 0)::bigint   as calls,
from entries
