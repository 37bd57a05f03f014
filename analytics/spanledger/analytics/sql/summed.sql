-- What `selected` gives, as sums by quarter of an hour: for questions that only add up, and know no more than the roll-up's dimensions.
--
-- `occurred_at` is when the quarter began. Where the range begins or ends inside a quarter, the entries of that piece are
-- taken one by one, so the answer is the same as from `selected`; `day` keeps that to two days' files.
create or replace macro summed(since, until, filters, dimension) as table
select
    *,
    case dimension
        when 'tenant' then tenant
        when 'project' then project
        when 'agent' then agent
        when 'environment' then environment
        when 'service' then service
        when 'api_key_id' then api_key_id
        when 'provider' then provider
        when 'model' then model
        when 'requested_model' then requested_model
        when 'operation' then operation
        when 'service_tier' then service_tier
        when 'region' then region
    end as key
from (
    select
        day, slot as occurred_at, tenant, project, agent, environment, service, api_key_id,
        provider, model, requested_model, operation, service_tier, region, outcome, cost_state,
        calls, input_tokens, cache_read_tokens, cache_write_tokens, output_tokens, reasoning_tokens, cost_usd,
    from rollup
    where day >= since::timestamptz::date
      and day <= until::timestamptz::date
      and slot >= quarter_after(since)
      and slot < quarter_of(until)
    union all
    select
        day, occurred_at, tenant, project, agent, environment, service, api_key_id,
        provider, model, requested_model, operation, service_tier, region, outcome, cost_state,
        calls, input_tokens, cache_read_tokens, cache_write_tokens, output_tokens, reasoning_tokens, cost_usd,
    from entries
    where day in (since::timestamptz::date, until::timestamptz::date)
      and occurred_at >= since
      and occurred_at < until
      and (occurred_at < quarter_after(since) or occurred_at >= quarter_of(until))
)
where wanted(filters, 'tenant', tenant)
  and wanted(filters, 'project', project)
  and wanted(filters, 'agent', agent)
  and wanted(filters, 'environment', environment)
  and wanted(filters, 'service', service)
  and wanted(filters, 'api_key_id', api_key_id)
  and wanted(filters, 'provider', provider)
  and wanted(filters, 'model', model)
  and wanted(filters, 'requested_model', requested_model)
  and wanted(filters, 'operation', operation)
  and wanted(filters, 'service_tier', service_tier)
  and wanted(filters, 'region', region)
