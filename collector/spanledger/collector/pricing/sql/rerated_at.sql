-- How many entries one re-rating posted: all of its entries were recorded at its moment.
select count(*) as entries
from corrections
where rule in ('rerate', 'rerate_from')
  and recorded_at = $at
