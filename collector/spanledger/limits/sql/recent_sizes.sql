-- Token sizes of the last $samples calls of each kind in the ledger's last seven days, oldest first.
--
-- Seven days from its own newest call, not from now: a collector that was away for a month still knows something.
with
newest as (select max(occurred_at) as moment from entries),

calls as (
    select
        coalesce(requested_model, model) as model,
        operation,
        tenant,
        agent,
        coalesce(input_tokens, 0)        as input_tokens,
        output_tokens,
        occurred_at,
    from entries
    where kind = 'call'
      and output_tokens is not null
      and occurred_at >= (select moment from newest) - interval 7 days
      and day >= cast((select moment from newest) - interval 7 days as date)
    qualify row_number() over (
        partition by coalesce(requested_model, model), operation, tenant, agent
        order by occurred_at desc
    ) <= $samples
)

select model, operation, tenant, agent, input_tokens, output_tokens
from calls
order by occurred_at
