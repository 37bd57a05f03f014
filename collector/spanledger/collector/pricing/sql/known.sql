-- What the ledger said on a day about a range: a filter on when it learned of each entry.
select
    provider,
    model,
    sum(calls)::bigint                                                       as calls,
    coalesce(sum(calls) filter (where cost_state = 'unpriced'), 0)::bigint   as unpriced,
    coalesce(sum(cost_usd), 0)::decimal(20, 12)                              as cost_usd,
    coalesce(sum(list_cost_usd), 0)::decimal(20, 12)                         as list_cost_usd
from entries
where recorded_at <= $as_known_on
  and occurred_at >= $since
  and occurred_at < $until
group by provider, model
order by cost_usd desc, provider, model
