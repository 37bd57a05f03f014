-- How long answered calls took in [$since, $until), by one dimension: the $top busiest values.
--
-- A quantile is no sum: it is taken over the calls themselves. Failed calls are left out, as a quick refusal
-- would make a model look fast.
select
    key,
    count(*)::bigint                                 as calls,
    quantile_cont(duration_seconds, 0.5)             as duration_p50,
    quantile_cont(duration_seconds, 0.95)            as duration_p95,
    quantile_cont(duration_seconds, 0.99)            as duration_p99,
    quantile_cont(time_to_first_token_seconds, 0.5)  as first_token_p50,
    quantile_cont(time_to_first_token_seconds, 0.95) as first_token_p95,
from selected($since, $until, $filters, $dimension)
where kind = 'call'
  and outcome = 'ok'
  and duration_seconds is not null
group by key
order by calls desc, key
limit $top
