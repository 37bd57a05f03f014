-- One row per standing call: calls that were not reversed, with what adjustments added to their cost.
--
-- The corrections are few, and `corrections` reads only the files that the log says may hold some, so the joins
-- stay small however many calls there are. An adjustment's words (state, revision) replace the call's: the newest wins,
-- and of the two that move a call from one state to another the one that puts it into the new one.
create or replace view calls as
with adjusted as (
    select
        stands_for,
        day,
        sum(cost_usd)                              as cost_usd,
        sum(input_cost_usd)                        as input_cost_usd,
        sum(cache_read_cost_usd)                   as cache_read_cost_usd,
        sum(cache_write_cost_usd)                  as cache_write_cost_usd,
        sum(output_cost_usd)                       as output_cost_usd,
        sum(other_cost_usd)                        as other_cost_usd,
        sum(list_cost_usd)                         as list_cost_usd,
        arg_max(cost_state, recorded_at) filter (where rule is distinct from 'rerate_from') as cost_state,
        arg_max_null(unpriced_reason, recorded_at) filter (where rule is distinct from 'rerate_from') as unpriced_reason,
        arg_max(priced_as, recorded_at) filter (where rule is distinct from 'rerate_from') as priced_as,
        arg_max(price_match, recorded_at) filter (where rule is distinct from 'rerate_from') as price_match,
        arg_max(price_revision, recorded_at) filter (where rule is distinct from 'rerate_from') as price_revision
    from corrections
    where kind = 'adjustment'
    group by stands_for, day
)
select
    e.* replace (
        case when a.stands_for is null then e.cost_usd when a.cost_state = 'unpriced' then null else (coalesce(e.cost_usd, 0) + coalesce(a.cost_usd, 0))::decimal(20, 12) end as cost_usd,
        case when a.stands_for is null then e.input_cost_usd when a.cost_state = 'unpriced' then null else (coalesce(e.input_cost_usd, 0) + coalesce(a.input_cost_usd, 0))::decimal(20, 12) end as input_cost_usd,
        case when a.stands_for is null then e.cache_read_cost_usd when a.cost_state = 'unpriced' then null else (coalesce(e.cache_read_cost_usd, 0) + coalesce(a.cache_read_cost_usd, 0))::decimal(20, 12) end as cache_read_cost_usd,
        case when a.stands_for is null then e.cache_write_cost_usd when a.cost_state = 'unpriced' then null else (coalesce(e.cache_write_cost_usd, 0) + coalesce(a.cache_write_cost_usd, 0))::decimal(20, 12) end as cache_write_cost_usd,
        case when a.stands_for is null then e.output_cost_usd when a.cost_state = 'unpriced' then null else (coalesce(e.output_cost_usd, 0) + coalesce(a.output_cost_usd, 0))::decimal(20, 12) end as output_cost_usd,
        case when a.stands_for is null then e.other_cost_usd when a.cost_state = 'unpriced' then null else (coalesce(e.other_cost_usd, 0) + coalesce(a.other_cost_usd, 0))::decimal(20, 12) end as other_cost_usd,
        -- What no list has stays without a list price, whatever a contract makes of it.
        coalesce(e.list_cost_usd + a.list_cost_usd, e.list_cost_usd, a.list_cost_usd)::decimal(20, 12) as list_cost_usd,
        case when a.stands_for is null then e.cost_state           else a.cost_state end as cost_state,
        case when a.stands_for is null then e.unpriced_reason      else a.unpriced_reason end as unpriced_reason,
        coalesce(a.priced_as, e.priced_as)           as priced_as,
        coalesce(a.price_match, e.price_match)       as price_match,
        coalesce(a.price_revision, e.price_revision) as price_revision
    )
from entries as e
-- An adjustment is of the day of its call: a question about one day need not add up those of all others.
left join adjusted as a on a.stands_for = e.entry_id and a.day = e.day
where e.kind = 'call'
  and e.entry_id not in (select stands_for from corrections where kind = 'reversal' and stands_for is not null)
