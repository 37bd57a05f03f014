-- `summed` from the smaller roll-up, for questions that name nothing that multiplies with the number of customers.
create or replace macro summed_coarse(since, until, filters, dimension) as table
select
    *,
    case dimension
        when 'environment' then environment
        when 'service' then service
        when 'provider' then provider
        when 'model' then model
        when 'requested_model' then requested_model
        when 'operation' then operation
        when 'service_tier' then service_tier
        when 'region' then region
    end as key
from (
    select
        day, slot as occurred_at, environment, service,
        provider, model, requested_model, operation, service_tier, region, outcome, cost_state,
        calls, input_tokens, cache_read_tokens, cache_write_tokens, output_tokens, reasoning_tokens, cost_usd,
    from rollup_coarse
    where day >= since::timestamptz::date
      and day <= until::timestamptz::date
      and slot >= quarter_after(since)
      and slot < quarter_of(until)
    union all
    select
        day, occurred_at, environment, service,
        provider, model, requested_model, operation, service_tier, region, outcome, cost_state,
        calls, input_tokens, cache_read_tokens, cache_write_tokens, output_tokens, reasoning_tokens, cost_usd,
    from entries
    where day in (since::timestamptz::date, until::timestamptz::date)
      and occurred_at >= since
      and occurred_at < until
      and (occurred_at < quarter_after(since) or occurred_at >= quarter_of(until))
)
where wanted(filters, 'environment', environment)
  and wanted(filters, 'service', service)
  and wanted(filters, 'provider', provider)
  and wanted(filters, 'model', model)
  and wanted(filters, 'requested_model', requested_model)
  and wanted(filters, 'operation', operation)
  and wanted(filters, 'service_tier', service_tier)
  and wanted(filters, 'region', region)
