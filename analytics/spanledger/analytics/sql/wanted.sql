-- Whether a value passes the filter of that name: no filter, or a list that has it.
--
-- A value that is not given is wanted as '' , since null would match nothing.
create or replace macro wanted(filters, name, value) as (
    filters[name] is null or list_contains(filters[name], coalesce(value, ''))
)
