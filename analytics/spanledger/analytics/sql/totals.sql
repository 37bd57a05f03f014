-- What was called and spent in [$since, $until), one row.
--
-- `unpriced` stands beside the sum because a sum skips nulls without saying so. Nothing at all costs 0;
-- calls of which none has a price cost null.
select
    coalesce(sum(calls), 0)::bigint                                            as calls,
    coalesce(sum(calls) filter (where cost_state = 'unpriced'), 0)::bigint     as unpriced,
    coalesce(sum(calls) filter (where outcome = 'error'), 0)::bigint           as failed,
    coalesce(sum(input_tokens), 0)::bigint                                     as input_tokens,
    coalesce(sum(cache_read_tokens), 0)::bigint                                as cache_read_tokens,
    coalesce(sum(cache_write_tokens), 0)::bigint                               as cache_write_tokens,
    coalesce(sum(output_tokens), 0)::bigint                                    as output_tokens,
    coalesce(sum(reasoning_tokens), 0)::bigint                                 as reasoning_tokens,
    case when count(*) = 0 then 0 else sum(cost_usd) end::decimal(38, 12)      as cost_usd,
from selected($since, $until, $filters, null)
