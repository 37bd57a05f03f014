-- The last $count calls in [$since, $until), newest first, each with what was corrected since.
--
-- A reversed call is none; an adjustment changes what a call cost without being a call. `corrections` holds
-- both, and reads only the few files that have any.
with
    corrected as (
        select
            stands_for,
            sum(calls) as calls,
            sum(cost_usd) as cost_usd,
            arg_max(cost_state, recorded_at) filter (where newest) as cost_state,
            arg_max_null(unpriced_reason, recorded_at) filter (where newest) as unpriced_reason
        from (select *, kind = 'adjustment' and rule is distinct from 'rerate_from' as newest from corrections)
        where stands_for is not null
        group by stands_for
    )
select
    call.occurred_at,
    call.provider,
    call.model,
    call.requested_model,
    call.operation,
    call.tenant,
    call.project,
    call."user",
    call.agent,
    call.session,
    call.service,
    call.environment,
    call.input_tokens,
    call.cache_read_tokens,
    call.cache_write_tokens,
    call.output_tokens,
    call.reasoning_tokens,
    case
        when corrected.cost_state = 'unpriced' then null
        when corrected.cost_usd is null then call.cost_usd
        else coalesce(call.cost_usd, 0) + corrected.cost_usd
    end::decimal(38, 12) as cost_usd,
    coalesce(corrected.cost_state, call.cost_state) as cost_state,
    case when corrected.cost_state is null then call.unpriced_reason else corrected.unpriced_reason end as unpriced_reason,
    call.duration_seconds,
    call.time_to_first_token_seconds,
    call.streamed,
    call.outcome,
    call.error_type,
    call.finish_reason,
    call.trace_id,
    call.span_id,
    call.entry_id,
from selected($since, $until, $filters, null) as call
left join corrected on corrected.stands_for = call.entry_id
where call.kind = 'call'
  and coalesce(corrected.calls, 0) = 0
  and ($outcome is null or call.outcome = $outcome)
  and (
      $after_at::timestamptz is null
      or call.occurred_at < $after_at
      or (call.occurred_at = $after_at and call.entry_id > $after_id)
  )
order by call.occurred_at desc, call.entry_id
limit $count
