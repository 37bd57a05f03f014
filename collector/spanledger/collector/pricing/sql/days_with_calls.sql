-- The days of a range that have calls, so that days without any are not read.
select distinct day
from entries
where kind = 'call'
  and day >= ($since::timestamptz at time zone 'UTC')::date
  and day <= ($until::timestamptz at time zone 'UTC')::date
order by day
