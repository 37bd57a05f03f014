-- Models without a price in [$since, $until), with what they used, so that the missing price can be added.
select
    provider,
    model,
    unpriced_reason,
    sum(calls)::bigint         as calls,
    sum(input_tokens)::bigint  as input_tokens,
    sum(output_tokens)::bigint as output_tokens,
    min(occurred_at)           as first_at,
    max(occurred_at)           as last_at,
from selected($since, $until, $filters, null)
where cost_state = 'unpriced'
group by all
having sum(calls) <> 0
order by calls desc, provider, model
