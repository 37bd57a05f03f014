-- Where the cost that senders report is far from the list price, by provider and model.
--
-- A call that both sides price counts; a sender that knows no price reports zero and says nothing. `apart_usd` adds up how far each
-- call is off, whichever way: of two claims, one too low and one too high, the sums may agree.
select
    provider,
    coalesce(model, requested_model)                                          as model,
    dialect,
    sum(calls)::bigint                                                        as calls,
    sum(list_cost_usd)::decimal(20, 12)                                       as computed_usd,
    sum(reported_cost_usd)::decimal(20, 12)                                   as reported_usd,
    (sum(reported_cost_usd) - sum(list_cost_usd))::decimal(20, 12)            as difference_usd,
    sum(abs(reported_cost_usd - list_cost_usd))::decimal(20, 12)              as apart_usd,
    (sum(reported_cost_usd) / nullif(sum(list_cost_usd), 0))::double          as ratio
from calls
where reported_cost_usd > 0
  and list_cost_usd is not null
  and occurred_at >= $since
  and occurred_at < $until
group by all
having apart_usd > $share * greatest(computed_usd, reported_usd)
   and apart_usd >= $least_usd
order by apart_usd desc, provider, model, dialect
