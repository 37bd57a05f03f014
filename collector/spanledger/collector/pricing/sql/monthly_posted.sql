-- What was posted so far of fixed monthly costs, by rule and day, and in how many entries.
select rule, day, sum(list_cost_usd)::decimal(20, 12) as list_cost_usd, sum(cost_usd)::decimal(20, 12) as cost_usd, count(*) as entries
from corrections
where kind = 'adjustment'
  and starts_with(rule, 'monthly:')
  and day >= $since
group by rule, day
