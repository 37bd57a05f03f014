-- Every call of [$since, $until) in the order in which it began, with what a limit looks at, and at what it came to in the end:
-- adjustments and reversals are added to the call that they are about. One that came to no call is left out.
--
-- What is no call and about none (a fixed monthly cost, a correction by hand) moves what is used by itself.
with told as (
    select *
    from entries
    where occurred_at >= $since
      and occurred_at < $until
      and day >= cast($since as date)
      and day <= cast($until as date)
      and kind <> 'duplicate'
),
corrections as (
    select
        told.stands_for                                                     as entry_id,
        sum(told.calls)                                                     as calls,
        sum(told.input_tokens)                                              as input_tokens,
        sum(told.output_tokens)                                             as output_tokens,
        sum(told.cost_usd)                                                  as cost_usd,
    from told
    semi join (select entry_id from told where kind = 'call') as made on told.stands_for = made.entry_id
    where told.kind <> 'call'
    group by told.stands_for
)
select
    epoch_us(told.occurred_at)                                              as at,
    told.tenant,
    told.project,
    told."user",
    told.agent,
    told.session,
    told.environment,
    told.service,
    told.operation,
    told.provider,
    coalesce(told.requested_model, told.model)                              as model,
    told.trace_id                                                           as trace,
    map_entries(told.tags)                                                  as tags,
    told.kind = 'call'                                                      as is_call,
    told.calls + coalesce(corrections.calls, 0)                             as calls,
    coalesce(told.input_tokens, 0) + coalesce(corrections.input_tokens, 0)  as input_tokens,
    coalesce(told.output_tokens, 0) + coalesce(corrections.output_tokens, 0) as output_tokens,
    case
        when corrections.cost_usd is null then told.cost_usd
        else coalesce(told.cost_usd, 0) + corrections.cost_usd
    end                                                                     as cost_usd,
from told
left join corrections on told.kind = 'call' and corrections.entry_id = told.entry_id
where (told.kind = 'call' and (corrections.calls is null or told.calls + corrections.calls <> 0))
   or (told.kind <> 'call' and (told.stands_for is null or told.stands_for not in (select entry_id from corrections)))
order by told.occurred_at, told.entry_id
