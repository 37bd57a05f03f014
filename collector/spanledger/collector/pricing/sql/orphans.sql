-- What adjustments left behind of calls that turned out to be duplicates: a reversal takes back what the call was posted
-- with, so the adjustments of that call are to be taken back too.
select
    a.stands_for                                        as entry_id,
    any_value(a.occurred_at)                            as occurred_at,
    any_value(a.day)                                    as day,
    any_value(a.tenant)                                 as tenant,
    any_value(a.project)                                as project,
    any_value(a.user)                                   as user,
    any_value(a.agent)                                  as agent,
    any_value(a.session)                                as session,
    any_value(a.environment)                            as environment,
    any_value(a.service)                                as service,
    any_value(a.api_key_id)                             as api_key_id,
    any_value(a.tags)                                   as tags,
    any_value(a.provider)                               as provider,
    any_value(a.requested_model)                        as requested_model,
    any_value(a.model)                                  as model,
    any_value(a.operation)                              as operation,
    any_value(a.service_tier)                           as service_tier,
    any_value(a.region)                                 as region,
    any_value(a.batch)                                  as batch,
    any_value(a.outcome)                                as outcome,
    (-sum(a.cost_usd))::decimal(20, 12)                 as cost_usd,
    (-sum(a.input_cost_usd))::decimal(20, 12)           as input_cost_usd,
    (-sum(a.cache_read_cost_usd))::decimal(20, 12)      as cache_read_cost_usd,
    (-sum(a.cache_write_cost_usd))::decimal(20, 12)     as cache_write_cost_usd,
    (-sum(a.output_cost_usd))::decimal(20, 12)          as output_cost_usd,
    (-sum(a.other_cost_usd))::decimal(20, 12)           as other_cost_usd,
    (-sum(a.list_cost_usd))::decimal(20, 12)            as list_cost_usd,
    arg_max(a.cost_state, a.recorded_at)                as cost_state,
    arg_max(a.cost_state, a.recorded_at)                as was_state,
    sum(a.cost_usd)::decimal(20, 12)                    as was_usd
from corrections as a
where a.kind = 'adjustment'
  and a.rule = 'rerate'
  and a.occurred_at >= $since
  and a.occurred_at < $until
  and a.stands_for in (select r.stands_for from corrections as r where r.kind = 'reversal')
group by a.stands_for
having sum(a.cost_usd) <> 0 or sum(a.list_cost_usd) <> 0
