-- What has no price, by the names that telemetry gave: the list from which missing prices are set. Calls of which only a part
-- has none are `priced`, and those for which the sender's word stands in `reported`.
select
    provider,
    coalesce(model, requested_model)                    as model,
    service_tier,
    cost_state,
    unpriced_reason                                     as reason,
    sum(calls)::bigint                                  as calls,
    coalesce(sum(input_tokens), 0)::bigint              as input_tokens,
    coalesce(sum(output_tokens), 0)::bigint             as output_tokens,
    min(occurred_at)                                    as first_at,
    max(occurred_at)                                    as last_at
from calls
where unpriced_reason is not null
  and occurred_at >= $since
  and occurred_at < $until
group by all
order by calls desc, provider, model, service_tier, cost_state, reason
