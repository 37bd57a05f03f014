-- What adjustments left behind of calls that turned out to be duplicates: a reversal takes back what the call was posted
-- with, so the adjustments of that call are to be taken back too, each state by itself.
select
    a.stands_for                                        as entry_id,
    any_value(a.trace_id)                               as trace_id,
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
    any_value(a.variant)                                as variant,
    any_value(a.service_tier)                           as service_tier,
    any_value(a.region)                                 as region,
    any_value(a.batch)                                  as batch,
    any_value(a.outcome)                                as outcome,
    (-sum(a.calls))::bigint                             as calls,
    (-sum(a.input_tokens))::bigint                      as input_tokens,
    (-sum(a.cache_read_tokens))::bigint                 as cache_read_tokens,
    (-sum(a.cache_write_tokens))::bigint                as cache_write_tokens,
    (-sum(a.cache_write_5m_tokens))::bigint             as cache_write_5m_tokens,
    (-sum(a.cache_write_1h_tokens))::bigint             as cache_write_1h_tokens,
    (-sum(a.output_tokens))::bigint                     as output_tokens,
    (-sum(a.reasoning_tokens))::bigint                  as reasoning_tokens,
    (-sum(a.input_audio_tokens))::bigint                as input_audio_tokens,
    (-sum(a.output_audio_tokens))::bigint               as output_audio_tokens,
    (-sum(a.cache_read_audio_tokens))::bigint           as cache_read_audio_tokens,
    (-sum(a.input_image_tokens))::bigint                as input_image_tokens,
    (-sum(a.output_image_tokens))::bigint               as output_image_tokens,
    (-sum(a.input_video_tokens))::bigint                as input_video_tokens,
    (-sum(a.images))::bigint                            as images,
    (-sum(a.audio_seconds))::double                     as audio_seconds,
    (-sum(a.video_seconds))::double                     as video_seconds,
    (-sum(a.characters))::bigint                        as characters,
    (-sum(a.pages))::bigint                             as pages,
    (-sum(a.searches))::bigint                          as searches,
    (-sum(a.requests))::bigint                          as requests,
    (-sum(a.cost_usd))::decimal(20, 12)                 as cost_usd,
    (-sum(a.input_cost_usd))::decimal(20, 12)           as input_cost_usd,
    (-sum(a.cache_read_cost_usd))::decimal(20, 12)      as cache_read_cost_usd,
    (-sum(a.cache_write_cost_usd))::decimal(20, 12)     as cache_write_cost_usd,
    (-sum(a.output_cost_usd))::decimal(20, 12)          as output_cost_usd,
    (-sum(a.other_cost_usd))::decimal(20, 12)           as other_cost_usd,
    (-sum(a.list_cost_usd))::decimal(20, 12)            as list_cost_usd,
    (-sum(a.reported_cost_usd))::decimal(20, 12)        as reported_cost_usd,
    a.cost_state,
    a.unpriced_reason,
    any_value(a.priced_as)                              as priced_as,
    any_value(a.price_match)                            as price_match,
    any_value(a.price_revision)                         as price_revision
from corrections as a
where a.kind = 'adjustment'
  and a.rule in ('rerate', 'rerate_from')
  and a.occurred_at >= $since
  and a.occurred_at < $until
  and a.stands_for in (select r.stands_for from corrections as r where r.kind = 'reversal')
group by a.stands_for, a.cost_state, a.unpriced_reason
having sum(a.calls) <> 0 or sum(a.cost_usd) <> 0 or sum(a.list_cost_usd) <> 0 or sum(a.input_tokens) <> 0
    or sum(a.output_tokens) <> 0
