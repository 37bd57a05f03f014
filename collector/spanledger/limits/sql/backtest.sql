-- Every entry of [$since, $until) in the order in which it occurred, with what a limit looks at.
--
-- Entries, not calls: a reversal or an adjustment moves what is used as it would have moved the counter.
select
    epoch_us(occurred_at)                                                   as at,
    tenant,
    project,
    "user",
    agent,
    session,
    environment,
    service,
    operation,
    provider,
    coalesce(requested_model, model)                                        as model,
    trace_id                                                                as trace,
    map_entries(tags)                                                       as tags,
    calls,
    coalesce(input_tokens, 0)                                               as input_tokens,
    coalesce(output_tokens, 0)                                              as output_tokens,
    cost_usd,
from entries
where occurred_at >= $since
  and occurred_at < $until
  and day >= cast($since as date)
  and day <= cast($until as date)
  and kind <> 'duplicate'
order by occurred_at, entry_id
