-- Entries that occurred in [since, until) and pass the filters, with `key`: their value of one dimension.
--
-- `filters` is a map from dimension to wanted values. All arguments are bound, so DuckDB folds what is not
-- asked for and reads only the columns that are (seen in the plan: a million entries in 30 ms). The dimension
-- is data and not a piece of SQL, so no name from outside ever becomes an identifier. `day` is the
-- table's partition: comparing it skips whole files.
create or replace macro selected(since, until, filters, dimension) as table
select
    *,
    case dimension
        when 'tenant' then tenant
        when 'project' then project
        when 'user' then "user"
        when 'agent' then agent
        when 'session' then session
        when 'environment' then environment
        when 'service' then service
        when 'api_key_id' then api_key_id
        when 'provider' then provider
        when 'model' then model
        when 'requested_model' then requested_model
        when 'operation' then operation
        when 'service_tier' then service_tier
        when 'region' then region
        else case when starts_with(dimension, 'tag.') then tags[substr(dimension, 5)] end
    end as key
from entries
where day >= since::timestamptz::date
  and day <= until::timestamptz::date
  and occurred_at >= since
  and occurred_at < until
  and wanted(filters, 'tenant', tenant)
  and wanted(filters, 'project', project)
  and wanted(filters, 'user', "user")
  and wanted(filters, 'agent', agent)
  and wanted(filters, 'session', session)
  and wanted(filters, 'environment', environment)
  and wanted(filters, 'service', service)
  and wanted(filters, 'api_key_id', api_key_id)
  and wanted(filters, 'provider', provider)
  and wanted(filters, 'model', model)
  and wanted(filters, 'requested_model', requested_model)
  and wanted(filters, 'operation', operation)
  and wanted(filters, 'service_tier', service_tier)
  and wanted(filters, 'region', region)
  and (
      len(list_filter(map_keys(filters), lambda name: starts_with(name, 'tag.'))) = 0
      or len(list_filter(
          map_keys(filters),
          lambda name: starts_with(name, 'tag.') and not list_contains(filters[name], coalesce(tags[substr(name, 5)], ''))
      )) = 0
  )
