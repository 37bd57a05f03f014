-- The standing calls of one day in a range, with what they cost after all adjustments so far.
--
-- Everything that pricing reads and everything that an adjustment repeats, so that one reading is enough.
select
    c.entry_id, c.kind, c.trace_id, c.occurred_at, c.day,
    c.tenant, c.project, c.user, c.agent, c.session, c.environment, c.service, c.api_key_id, c.tags,
    c.provider, c.requested_model, c.model, c.operation, c.variant, c.service_tier, c.region, c.batch, c.outcome, c.cut_short,
    c.calls, c.input_tokens, c.cache_read_tokens, c.cache_write_tokens, c.cache_write_5m_tokens, c.cache_write_1h_tokens,
    c.output_tokens, c.reasoning_tokens, c.input_audio_tokens, c.output_audio_tokens, c.cache_read_audio_tokens,
    c.input_image_tokens, c.output_image_tokens, c.input_video_tokens, c.images, c.audio_seconds, c.video_seconds,
    c.characters, c.pages, c.searches, c.requests, c.other_meters,
    c.reported_cost_usd,
    c.cost_usd, c.input_cost_usd, c.cache_read_cost_usd, c.cache_write_cost_usd, c.output_cost_usd, c.other_cost_usd,
    c.list_cost_usd, c.cost_state, c.unpriced_reason, c.priced_as, c.price_match, c.price_revision
from calls as c
where c.day = $day
  and c.occurred_at >= $since
  and c.occurred_at < $until
  and ($provider is null or c.provider = $provider)
  and ($model is null or coalesce(c.model, c.requested_model) = $model)
  and ($tenant is null or c.tenant = $tenant)
  and (not $unpriced_only or c.unpriced_reason is not null)
