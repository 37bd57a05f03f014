-- One's own traffic, for pricing it on another model: sums would lose the size that decides a rate.
select
    c.occurred_at, c.provider, coalesce(c.model, c.requested_model) as model, c.service_tier, c.batch, c.outcome, c.calls,
    c.input_tokens, c.cache_read_tokens, c.cache_write_tokens, c.cache_write_5m_tokens, c.cache_write_1h_tokens,
    c.output_tokens, c.reasoning_tokens, c.cost_usd, c.list_cost_usd
from calls as c
where c.occurred_at >= $since
  and c.occurred_at < $until
  and c.operation is distinct from 'embeddings'
  and c.input_tokens is not null
  and ($provider is null or c.provider = $provider)
  and ($model is null or coalesce(c.model, c.requested_model) = $model)
  and ($tenant is null or c.tenant = $tenant)
