-- What the ledger learned from $since on, with what counters need of it: for counters that missed some of it.
select
    entry_id, kind, hold_id, occurred_at, recorded_at, tenant, project, "user", agent, session, environment, service,
    operation, provider, requested_model, model, trace_id, tags, calls, input_tokens, output_tokens, cost_usd,
from entries
where recorded_at >= $since
order by recorded_at
