-- Where the cost that senders report is far from the list price, by provider and model.
--
-- A call that both sides price counts; a sender that knows no price reports zero and says nothing.
select
    provider,
    coalesce(model, requested_model)                                          as model,
    dialect,
    sum(calls)::bigint                                                        as calls,
    sum(list_cost_usd)::decimal(20, 12)                                       as computed_usd,
    sum(reported_cost_usd)::decimal(20, 12)                                   as reported_usd,
    (sum(reported_cost_usd) - sum(list_cost_usd))::decimal(20, 12)            as difference_usd,
    (sum(reported_cost_usd) / nullif(sum(list_cost_usd), 0))::double          as ratio
from calls
where reported_cost_usd > 0
  and list_cost_usd is not null
  and occurred_at >= $since
  and occurred_at < $until
group by all
having abs(sum(reported_cost_usd) - sum(list_cost_usd)) > $share * greatest(sum(list_cost_usd), sum(reported_cost_usd))
   and abs(sum(reported_cost_usd) - sum(list_cost_usd)) >= $least_usd
order by abs(sum(reported_cost_usd) - sum(list_cost_usd)) desc, provider, model, dialect
