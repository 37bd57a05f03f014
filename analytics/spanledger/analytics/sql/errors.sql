-- Calls that failed in [$since, $until), by what went wrong.
select
    provider,
    model,
    error_type,
    sum(calls)::bigint                                                     as calls,
    coalesce(sum(calls) filter (where cost_state = 'unpriced'), 0)::bigint as unpriced,
    sum(cost_usd)::decimal(38, 12)                                         as cost_usd,
    max(occurred_at)                                                       as last_at,
from selected($since, $until, $filters, null)
where outcome = 'error'
group by all
having sum(calls) <> 0
order by calls desc, provider, model, error_type
