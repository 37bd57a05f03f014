-- Spend in [$since, $until) by step of time (UTC) and by one dimension: its $top dearest values over the
-- whole range keep their name, the rest are one row a step, so that the rows add up.
--
-- A rest of one keeps its name. $dimension null gives one row a step. Steps without entries have no row.
with
    by_step as (
        select
            -- Without its time zone, which is UTC, truncating takes a tenth of the time.
            make_timestamptz(epoch_us(date_trunc($step, make_timestamp(epoch_us(occurred_at))))) as since,
            key,
            sum(calls)                                                 as calls,
            coalesce(sum(calls) filter (where cost_state = 'unpriced'), 0) as unpriced,
            coalesce(sum(calls) filter (where outcome = 'error'), 0)   as failed,
            sum(input_tokens)                                          as input_tokens,
            sum(output_tokens)                                         as output_tokens,
            sum(cost_usd)                                              as cost_usd,
        from selected($since, $until, $filters, $dimension)
        group by all
    ),
    ranked as (
        select key, row_number() over (order by sum(cost_usd) desc nulls last, sum(calls) desc, key) > $top and count(*) over () > $top + 1 as rest
        from by_step
        group by key
    )
select
    since,
    case when not rest then by_step.key end as key,
    rest,
    sum(calls)::bigint                      as calls,
    sum(unpriced)::bigint                   as unpriced,
    sum(failed)::bigint                     as failed,
    sum(input_tokens)::bigint               as input_tokens,
    sum(output_tokens)::bigint              as output_tokens,
    sum(cost_usd)::decimal(38, 12)          as cost_usd,
from by_step
join ranked on by_step.key is not distinct from ranked.key
group by all
order by since, rest, key nulls last
