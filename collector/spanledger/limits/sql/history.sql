-- What the ledger has counted from $since on, per subject and slot of time, for counters to be rebuilt from.
--
-- A dimension that no limit of this shape asks for is null here, so that it splits no group. With $width 0 there are
-- two slots: the window that began at $since, and what a clock that runs ahead put behind its end, $until.
select
    case when $tenant::boolean then tenant end                              as tenant,
    case when $project::boolean then project end                            as project,
    case when $user::boolean then "user" end                                as "user",
    case when $agent::boolean then agent end                                as agent,
    case when $session::boolean then session end                            as session,
    case when $environment::boolean then environment end                    as environment,
    case when $service::boolean then service end                            as service,
    case when $operation::boolean then operation end                        as operation,
    case when $provider::boolean then provider end                          as provider,
    case when $model::boolean then coalesce(requested_model, model) end     as model,
    case when $trace::boolean then trace_id end                             as trace,
    case when len($tags::varchar[]) > 0
        then list_sort(list_filter(map_entries(tags), lambda pair: list_contains($tags::varchar[], pair.key)))
    end                                                                     as tags,
    case
        when $width::bigint > 0 then epoch_us(occurred_at) // $width::bigint * $width::bigint
        when epoch_us(occurred_at) < $until::bigint then $since::bigint
        else $until::bigint
    end                                                                     as at,
    sum(calls)::bigint                                                      as calls,
    coalesce(sum(input_tokens), 0)::hugeint                                 as input_tokens,
    coalesce(sum(output_tokens), 0)::hugeint                                as output_tokens,
    coalesce(sum(cost_usd), 0)                                              as cost_usd,
    coalesce(sum(coalesce(input_tokens, 0) + coalesce(output_tokens, 0)) filter (where cost_usd is null), 0)::hugeint
                                                                            as unpriced_tokens
from entries
where occurred_at >= make_timestamptz($since::bigint)
  and day >= cast(make_timestamp($since::bigint) as date)
group by all
-- Sessions and traces that nobody has used since are not counted any more.
having $used_since::bigint is null or max(occurred_at) >= make_timestamptz($used_since::bigint)
