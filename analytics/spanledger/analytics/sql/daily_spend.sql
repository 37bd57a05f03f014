-- What each UTC day in [$since, $until) cost, and how much of that came later in the day than $time_of_day.
--
-- The second column tells what a day that is not over yet may still bring, with no assumption about when people work.
select
    day,
    sum(calls)::bigint                                                         as calls,
    coalesce(sum(calls) filter (where cost_state = 'unpriced'), 0)::bigint     as unpriced,
    coalesce(sum(cost_usd), 0)::decimal(38, 12)                                as cost_usd,
    coalesce(
        -- Both without their time zone, which is UTC and would take most of the time.
        sum(cost_usd) filter (where make_timestamp(epoch_us(occurred_at)) >= day + $time_of_day), 0
    )::decimal(38, 12)                                                         as later_cost_usd,
from selected($since, $until, $filters, null)
group by day
order by day
