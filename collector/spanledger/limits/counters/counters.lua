-- Counters in Redis: every command below is one atomic step over all limits of a call.
--
-- An amount is two numbers, high and low, in units of 10^12 and 1: Lua's doubles are exact to 2^53 only, which would end
-- at nine thousand dollars of 10^-12. All keys begin with the same {tag}, so that a cluster keeps them in one slot.
--
-- KEYS[1] is the key of the state; ARGV is the command, the time in microseconds, and what the command takes, as JSON.
-- A place is [limit, key, start, end, width, length, ...] with key and start as text, to be joined exactly.

local prefix = string.sub(KEYS[1], 1, -6)
local command = ARGV[1]
local now = tonumber(ARGV[2])
local BASE = 1e12
local FOREVER = 4e18
local HOUR = 3600000000
local LEASES = prefix .. 'leases'
-- How long a hold is known to have ended: as long as any collector may take to find Redis again and hold what it lacks.
local ENDED_SECONDS = 600

-- Limbs are given to Redis as numbers, which it writes with 17 digits: enough for what is below 10^16, and twice as quick
-- as formatting them here. Times and slots that end up in names are formatted.
local function text(number)
    return string.format('%.0f', number)
end

local function sum(high, low, more_high, more_low)
    local l = low + more_low
    local carry = math.floor(l / BASE)
    return high + more_high + carry, l - carry * BASE
end

local function split(value)
    local colon = string.find(value, ':', 1, true)
    return tonumber(string.sub(value, 1, colon - 1)), tonumber(string.sub(value, colon + 1))
end

local function index_of(place)
    return prefix .. 'i:' .. place[1] .. ':' .. place[3]
end

-- The buckets of this step by name, and in the order in which it came to them. Each is read once, and written once at the
-- end: of a hundred checks at a time most ask the same limits.
local open, opened = {}, {}

-- A rolling bucket without the slots that are too old.
local function shed(bucket)
    local place = bucket.place
    local first = math.floor((now - place[6]) / place[5])
    if first <= bucket.oldest then return end
    local gone = {}
    if first - bucket.oldest <= 200 then
        for slot = bucket.oldest, first - 1 do gone[#gone + 1] = 's' .. text(slot) end
    else
        for _, field in ipairs(redis.call('HKEYS', bucket.name)) do
            if string.sub(field, 1, 1) == 's' and tonumber(string.sub(field, 2)) < first then gone[#gone + 1] = field end
        end
    end
    if #gone > 0 then
        for _, value in ipairs(redis.call('HMGET', bucket.name, unpack(gone))) do
            if value then
                local high, low = split(value)
                bucket.uh, bucket.ul = sum(bucket.uh, bucket.ul, -high, -low)
            end
        end
        redis.call('HDEL', bucket.name, unpack(gone))
    end
    bucket.oldest = first
    redis.call('HSET', bucket.name, 'uh', bucket.uh, 'ul', bucket.ul, 'o', text(first))
end

-- used (u), held (h) and the worst of what is held (w), as high and low; `noted` is when the bucket was put into the index
-- and given its time to live.
local function bucket_of(place)
    local name = prefix .. 'b:' .. place[1] .. ':' .. place[3] .. ':' .. place[2]
    local bucket = open[name]
    if bucket then return bucket end
    local f = redis.call('HMGET', name, 'uh', 'ul', 'hh', 'hl', 'wh', 'wl', 'o', 't')
    bucket = {
        name = name, place = place, oldest = tonumber(f[7]), noted = tonumber(f[8]),
        uh = tonumber(f[1]) or 0, ul = tonumber(f[2]) or 0,
        hh = tonumber(f[3]) or 0, hl = tonumber(f[4]) or 0,
        wh = tonumber(f[5]) or 0, wl = tonumber(f[6]) or 0,
    }
    open[name] = bucket
    opened[#opened + 1] = bucket
    if place[5] > 0 and bucket.oldest then shed(bucket) end
    return bucket
end

-- A bucket outlives its window by as long again (what rolls over is read from it) and by any lease; that of a session or
-- trace, its last use.
local function keep(bucket)
    local place = bucket.place
    local ends, width, length = place[4], place[5], place[6]
    local left
    if width > 0 then
        left = length + 25 * HOUR
    elseif ends < FOREVER then
        left = math.max(ends - now, 0) + (ends - tonumber(place[3])) + 25 * HOUR
    elseif length > 0 then
        left = length
    else
        return
    end
    redis.call('PEXPIRE', bucket.name, text(left / 1000))
    redis.call('PEXPIRE', index_of(place), text(left / 1000))
end

local function note(bucket)
    local place, noted = bucket.place, bucket.noted
    if not noted then
        redis.call('SADD', index_of(place), place[2])
        local windows = prefix .. 'w:' .. place[1]
        if redis.call('SADD', windows, place[3]) == 1 then
            -- A window has begun: those of which no bucket lives any more are named no longer.
            for _, start in ipairs(redis.call('SMEMBERS', windows)) do
                if redis.call('EXISTS', prefix .. 'i:' .. place[1] .. ':' .. start) == 0 then redis.call('SREM', windows, start) end
            end
        end
    elseif place[6] == 0 or now - noted < HOUR then
        return
    end
    keep(bucket)
    redis.call('HSET', bucket.name, 't', text(now))
end

local function write()
    for _, b in ipairs(opened) do
        if b.used then redis.call('HSET', b.name, 'uh', b.uh, 'ul', b.ul) end
        if b.held then redis.call('HSET', b.name, 'hh', b.hh, 'hl', b.hl, 'wh', b.wh, 'wl', b.wl) end
        if b.used or b.held then note(b) end
    end
end

local function use(place, at, high, low)
    local bucket, width = bucket_of(place), place[5]
    if width > 0 then
        local slot, first = math.floor(at / width), math.floor((now - place[6]) / width)
        if slot < first then return end
        local field = 's' .. text(slot)
        local sh, sl = high, low
        local value = redis.call('HGET', bucket.name, field)
        if value then sh, sl = sum(high, low, split(value)) end
        if not bucket.oldest then
            bucket.oldest = first
            redis.call('HSET', bucket.name, 'o', text(first))
        end
        redis.call('HSET', bucket.name, field, text(sh) .. ':' .. text(sl))
    end
    bucket.uh, bucket.ul = sum(bucket.uh, bucket.ul, high, low)
    bucket.used = true
end

-- part: place, then the size and the worst that are held
local function hold(part, sign)
    local bucket = bucket_of(part)
    bucket.hh, bucket.hl = sum(bucket.hh, bucket.hl, sign * part[7], sign * part[8])
    bucket.wh, bucket.wl = sum(bucket.wh, bucket.wl, sign * part[9], sign * part[10])
    bucket.held = true
end

local function keep_hold(id, made, expires, settled, parts, about)
    redis.call('HSET', prefix .. 'h:' .. id, 'm', made, 'e', expires, 's', settled, 'p', parts, 'a', about)
    redis.call('ZADD', LEASES, expires, id)
end

local function add_hold(id, made, expires, settled, parts, about)
    for _, part in ipairs(cjson.decode(parts)) do hold(part, 1) end
    keep_hold(id, made, expires, settled, parts, about)
end

local function take_hold(id)
    local key = prefix .. 'h:' .. id
    local found = redis.call('HMGET', key, 'm', 'e', 's', 'p', 'a')
    if not found[1] then return nil end
    for _, part in ipairs(cjson.decode(found[4])) do hold(part, -1) end
    redis.call('DEL', key)
    redis.call('ZREM', LEASES, id)
    return found
end

-- While a limit is counted from the ledger, what is posted to it is noted too: the count may not see it, and replaces it.
local counting = {}

-- What a count of a limit had of the ledger before anyone posted it: who commits entries posts them a moment later, or, having been
-- away, when it is back. All limits that are counted together share one such set.
local HAS_SECONDS = 7200
local sets = {}

local function has_counted(entry, limit)
    if sets[limit] == nil then sets[limit] = redis.call('GET', prefix .. 'k:' .. limit) end
    return sets[limit] and redis.call('SISMEMBER', prefix .. 'n:' .. sets[limit], entry) == 1
end

local function note_posted(entry, a)
    local key = prefix .. 'c:' .. a[1]
    if counting[key] == nil then counting[key] = redis.call('EXISTS', key) == 1 end
    if counting[key] and entry ~= '' then
        local numbers = {a[4], a[5], a[6], a[7], a[8], a[9]}
        for i, number in ipairs(numbers) do numbers[i] = text(number) end
        redis.call('RPUSH', key, table.concat({entry, a[1], a[2], a[3], unpack(numbers)}, '\n'))
    end
end

-- The collector that made a hold learns here that its call has ended at another. Nobody may hold it after that: who restores it
-- may not have learned it yet, and a check that nobody waits for any more may come late.
local function end_hold(id)
    local hold = take_hold(id)
    redis.call('SET', prefix .. 'x:' .. id, '1', 'EX', ENDED_SECONDS)
    if hold then redis.call('XADD', prefix .. 'ended', 'MAXLEN', '~', 20000, '*', 'i', id) end
    return hold
end

local function has_ended(id)
    return redis.call('EXISTS', prefix .. 'x:' .. id) == 1
end

-- Releases what has outlived its lease. A step does at most so much of others' work, a millisecond's; how much it found.
local function expire()
    local over = redis.call('ZRANGEBYSCORE', LEASES, '-inf', text(now), 'LIMIT', 0, 100)
    for _, id in ipairs(over) do
        local hold = take_hold(id)
        if hold == nil then
            redis.call('ZREM', LEASES, id)
        elseif hold[3] == '1' then
            for _, part in ipairs(cjson.decode(hold[4])) do use(part, tonumber(hold[1]), part[7], part[8]) end
        else
            redis.call('INCR', prefix .. 'leaked')
        end
    end
    return #over
end

local state = redis.call('GET', KEYS[1])
local COUNTS = {count_anew = true, unposted = true, name_unposted = true, have_counted = true, restore = true}
if not COUNTS[command] and string.sub(state or '', 1, 5) ~= 'ready' then
    return {'away', state or 'lost'}
end

local answer = {'ok'}

if command == 'hold' then
    -- Checks one after the other, four words each: the hold's id (or nothing: only test), the end of its lease, what it is
    -- about, and its demands. A demand is a part with its cap and bound after it, and whether it refuses.
    expire()
    for first = 3, #ARGV, 4 do
        local id, demands = ARGV[first], cjson.decode(ARGV[first + 3])
        local passes, says = true, {}
        for i, d in ipairs(demands) do
            local b = bucket_of(d)
            local ah, al = sum(b.uh, b.ul, b.hh, b.hl)
            ah, al = sum(ah, al, d[7], d[8])
            local bh, bl = sum(b.uh, b.ul, b.wh, b.wl)
            bh, bl = sum(bh, bl, d[9], d[10])
            local fits = (ah < d[11] or (ah == d[11] and al <= d[12])) and (bh < d[13] or (bh == d[13] and bl <= d[14]))
            says[i] = string.format('%.0f %.0f %.0f %.0f %.0f %.0f %d', b.uh, b.ul, b.hh, b.hl, b.wh, b.wl, fits and 1 or 0)
            passes = passes and (fits or d[15] == 0)
        end
        answer[#answer + 1] = table.concat(says, ';')
        if passes and id ~= '' and not has_ended(id) then
            for _, d in ipairs(demands) do hold(d, 1) end
            keep_hold(id, ARGV[2], ARGV[first + 1], '0', ARGV[first + 3], ARGV[first + 2])
        end
    end

elseif command == 'expire' then
    answer[2] = text(expire())

elseif command == 'release' then
    local freed = 0
    for i = 3, #ARGV do
        if end_hold(ARGV[i]) then freed = freed + 1 end
    end
    answer[2] = text(freed)

elseif command == 'settle' then
    local hold = take_hold(ARGV[3])
    if hold then add_hold(ARGV[3], hold[1], ARGV[4], '1', ARGV[5], hold[5]) end
    answer[2] = hold and '1' or '0'

elseif command == 'extend' then
    local key = prefix .. 'h:' .. ARGV[3]
    local live = redis.call('HGET', key, 's') == '0'
    if live then
        redis.call('HSET', key, 'e', ARGV[4])
        redis.call('ZADD', LEASES, ARGV[4], ARGV[3])
    end
    answer[2] = live and '1' or '0'

elseif command == 'post' then
    -- posting: entry id, hold id, [[place ..., at, high, low] ...]; an entry that was counted already changes nothing
    expire()
    for _, posting in ipairs(cjson.decode(ARGV[3])) do
        if posting[1] == '' or redis.call('SET', prefix .. 'e:' .. posting[1], '1', 'NX', 'EX', ARGV[4]) then
            if posting[2] ~= '' then end_hold(posting[2]) end
            for _, amount in ipairs(posting[3]) do
                if not has_counted(posting[1], amount[1]) then
                    use(amount, amount[7], amount[8], amount[9])
                    note_posted(posting[1], amount)
                end
            end
        end
    end

elseif command == 'read' then
    expire()
    for _, place in ipairs(cjson.decode(ARGV[3])) do
        local b = bucket_of(place)
        for _, number in ipairs({b.uh, b.ul, b.hh, b.hl, b.wh, b.wl}) do answer[#answer + 1] = text(number) end
    end

elseif command == 'begin_count' then
    for i = 3, #ARGV do
        local key = prefix .. 'c:' .. ARGV[i]
        if redis.call('EXISTS', key) == 0 then redis.call('RPUSH', key, '') end
        redis.call('EXPIRE', key, 300)
        redis.call('HSET', prefix .. 'counted', ARGV[i], ARGV[2])
        answer[#answer + 1] = text(redis.call('LLEN', key))
    end

elseif command == 'count_anew' then
    -- limit, how much of what was noted is among the amounts, buckets [[key, start] ...], their [[place ..., at, high, low] ...]
    local anew = {}
    for _, of in ipairs(cjson.decode(ARGV[5])) do
        local bucket, gone = prefix .. 'b:' .. ARGV[3] .. ':' .. of[2] .. ':' .. of[1], {'uh', 'ul', 'o'}
        for _, field in ipairs(redis.call('HKEYS', bucket)) do
            if string.sub(field, 1, 1) == 's' then gone[#gone + 1] = field end
        end
        for first = 1, #gone, 1000 do redis.call('HDEL', bucket, unpack(gone, first, math.min(first + 999, #gone))) end
        anew[of[1] .. '\n' .. of[2]] = true
    end
    for _, amount in ipairs(cjson.decode(ARGV[6])) do use(amount, amount[7], amount[8], amount[9]) end
    -- What came to these buckets since is counted in the same step, or calls would pass that have no room. Whoever counts takes
    -- back what the ledger had of it, in the end.
    for _, noted in ipairs(redis.call('LRANGE', prefix .. 'c:' .. ARGV[3], ARGV[4], -1)) do
        local words = {}
        for word in string.gmatch(noted, '[^\n]+') do words[#words + 1] = word end
        if anew[words[3] .. '\n' .. words[4]] then
            local place = {words[2], words[3], words[4]}
            for i = 5, 10 do place[i - 1] = tonumber(words[i]) end
            use(place, place[7], place[8], place[9])
        end
    end

elseif command == 'unposted' then
    for i = 3, #ARGV do
        if redis.call('EXISTS', prefix .. 'e:' .. ARGV[i]) == 0 then answer[#answer + 1] = ARGV[i] end
    end

elseif command == 'name_unposted' then
    -- the name of a set, entries in it
    local key = prefix .. 'n:' .. ARGV[3]
    redis.call('SADD', key, unpack(ARGV, 4))
    redis.call('EXPIRE', key, HAS_SECONDS)

elseif command == 'have_counted' then
    -- the name of a set, limits that have counted what is in it
    for i = 4, #ARGV do redis.call('SET', prefix .. 'k:' .. ARGV[i], ARGV[3], 'EX', HAS_SECONDS) end

elseif command == 'restore' then
    -- a hold that was made before the counters were lost, or were what they had been a moment before
    local known = redis.call('HGET', prefix .. 'h:' .. ARGV[3], 's')
    if not has_ended(ARGV[3]) and (not known or known == '0' and ARGV[6] == '1') then
        take_hold(ARGV[3])
        add_hold(ARGV[3], ARGV[4], ARGV[5], ARGV[6], ARGV[7], ARGV[8])
    end

elseif command == 'hold_anew' then
    -- holds, three words each: the id, the parts as they were read, the parts from now on; named again when they differ by now
    for i = 3, #ARGV, 3 do
        local key = prefix .. 'h:' .. ARGV[i]
        local parts = redis.call('HGET', key, 'p')
        if parts == ARGV[i + 1] then
            for _, part in ipairs(cjson.decode(parts)) do hold(part, -1) end
            for _, part in ipairs(cjson.decode(ARGV[i + 2])) do hold(part, 1) end
            redis.call('HSET', key, 'p', ARGV[i + 2])
        elseif parts then
            answer[#answer + 1] = ARGV[i]
        end
    end

elseif command == 'forget' then
    for _, start in ipairs(redis.call('SMEMBERS', prefix .. 'w:' .. ARGV[3])) do
        local index = prefix .. 'i:' .. ARGV[3] .. ':' .. start
        for _, key in ipairs(redis.call('SMEMBERS', index)) do
            redis.call('UNLINK', prefix .. 'b:' .. ARGV[3] .. ':' .. start .. ':' .. key)
        end
        redis.call('UNLINK', index)
    end
    redis.call('UNLINK', prefix .. 'w:' .. ARGV[3])
    redis.call('HDEL', prefix .. 'counted', ARGV[3])

else
    return redis.error_reply('unknown command ' .. command)
end

write()
return answer
