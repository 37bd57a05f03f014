-- Spend in [$since, $until) by one dimension: the $top dearest values, and the rest as one row, so that the rows add up.
--
-- `key` is null for calls without a value; the folded rest is told from them by `rest`, and `keys` says how many it holds.
-- A rest of one keeps its name: it would take a row in any case.
with
    by_key as (
        select
            key,
            sum(calls)                                                 as calls,
            coalesce(sum(calls) filter (where cost_state = 'unpriced'), 0) as unpriced,
            coalesce(sum(calls) filter (where outcome = 'error'), 0)   as failed,
            sum(input_tokens)                                          as input_tokens,
            sum(cache_read_tokens)                                     as cache_read_tokens,
            sum(cache_write_tokens)                                    as cache_write_tokens,
            sum(output_tokens)                                         as output_tokens,
            sum(reasoning_tokens)                                      as reasoning_tokens,
            sum(cost_usd)                                              as cost_usd,
        from selected($since, $until, $filters, $dimension)
        group by key
    ),
    ranked as (
        select *, row_number() over (order by cost_usd desc nulls last, calls desc, key) > $top and count(*) over () > $top + 1 as rest
        from by_key
    )
select
    case when not rest then key end          as key,
    rest,
    count(*)::bigint                         as keys,
    sum(calls)::bigint                       as calls,
    sum(unpriced)::bigint                    as unpriced,
    sum(failed)::bigint                      as failed,
    sum(input_tokens)::bigint                as input_tokens,
    sum(cache_read_tokens)::bigint           as cache_read_tokens,
    sum(cache_write_tokens)::bigint          as cache_write_tokens,
    sum(output_tokens)::bigint               as output_tokens,
    sum(reasoning_tokens)::bigint            as reasoning_tokens,
    sum(cost_usd)::decimal(38, 12)           as cost_usd,
from ranked
group by all
order by rest, cost_usd desc nulls last, calls desc, key
