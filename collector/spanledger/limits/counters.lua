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

local function at_most(high, low, cap_high, cap_low)
    return high < cap_high or (high == cap_high and low <= cap_low)
end

local function bucket_of(place)
    return prefix .. 'b:' .. place[1] .. ':' .. place[3] .. ':' .. place[2]
end

local function index_of(place)
    return prefix .. 'i:' .. place[1] .. ':' .. place[3]
end

-- A bucket outlives its window by as long again (what rolls over is read from it) and by any lease; that of a session or
-- trace, its last use.
local function keep(bucket, place)
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
    redis.call('PEXPIRE', bucket, text(left / 1000))
    redis.call('PEXPIRE', index_of(place), text(left / 1000))
end

-- `noted` is when the bucket was put into the index and given its time to live; nil for a new one.
local function note(bucket, place, noted)
    if not noted then
        redis.call('SADD', index_of(place), place[2])
        redis.call('SADD', prefix .. 'w:' .. place[1], place[3])
    elseif place[6] == 0 or now - noted < HOUR then
        return
    end
    keep(bucket, place)
    redis.call('HSET', bucket, 't', text(now))
end

-- used, held and worst of a bucket; slots that are too old are taken out first
local function read(bucket, place)
    local found = redis.call('HMGET', bucket, 'uh', 'ul', 'hh', 'hl', 'wh', 'wl', 'o', 't')
    local uh, ul = tonumber(found[1]) or 0, tonumber(found[2]) or 0
    local width, oldest = place[5], tonumber(found[7])
    if width > 0 and oldest then
        local first = math.floor((now - place[6]) / width)
        if first > oldest then
            local gone = {}
            if first - oldest <= 200 then
                for slot = oldest, first - 1 do gone[#gone + 1] = 's' .. text(slot) end
            else
                for _, field in ipairs(redis.call('HKEYS', bucket)) do
                    if string.sub(field, 1, 1) == 's' and tonumber(string.sub(field, 2)) < first then gone[#gone + 1] = field end
                end
            end
            if #gone > 0 then
                for _, value in ipairs(redis.call('HMGET', bucket, unpack(gone))) do
                    if value then
                        local colon = string.find(value, ':', 1, true)
                        uh, ul = sum(uh, ul, -tonumber(string.sub(value, 1, colon - 1)), -tonumber(string.sub(value, colon + 1)))
                    end
                end
                redis.call('HDEL', bucket, unpack(gone))
            end
            redis.call('HSET', bucket, 'uh', uh, 'ul', ul, 'o', text(first))
        end
    end
    return uh, ul, tonumber(found[3]) or 0, tonumber(found[4]) or 0, tonumber(found[5]) or 0, tonumber(found[6]) or 0,
        tonumber(found[8])
end

local function use(place, at, high, low)
    local bucket, width = bucket_of(place), place[5]
    if width > 0 then
        local slot, first = math.floor(at / width), math.floor((now - place[6]) / width)
        if slot < first then return end
        local field = 's' .. text(slot)
        local sh, sl = high, low
        local value = redis.call('HGET', bucket, field)
        if value then
            local colon = string.find(value, ':', 1, true)
            sh, sl = sum(high, low, tonumber(string.sub(value, 1, colon - 1)), tonumber(string.sub(value, colon + 1)))
        end
        redis.call('HSETNX', bucket, 'o', text(first))
        redis.call('HSET', bucket, field, text(sh) .. ':' .. text(sl))
    end
    local found = redis.call('HMGET', bucket, 'uh', 'ul', 't')
    local uh, ul = sum(tonumber(found[1]) or 0, tonumber(found[2]) or 0, high, low)
    redis.call('HSET', bucket, 'uh', uh, 'ul', ul)
    note(bucket, place, tonumber(found[3]))
end

-- part: place, then the size and the worst that are held
local function held(part, sign)
    local bucket = bucket_of(part)
    local found = redis.call('HMGET', bucket, 'hh', 'hl', 'wh', 'wl', 't')
    local hh, hl = sum(tonumber(found[1]) or 0, tonumber(found[2]) or 0, sign * part[7], sign * part[8])
    local wh, wl = sum(tonumber(found[3]) or 0, tonumber(found[4]) or 0, sign * part[9], sign * part[10])
    redis.call('HSET', bucket, 'hh', hh, 'hl', hl, 'wh', wh, 'wl', wl)
    note(bucket, part, tonumber(found[5]))
end

local function keep_hold(id, made, expires, settled, parts, about)
    redis.call('HSET', prefix .. 'h:' .. id, 'm', made, 'e', expires, 's', settled, 'p', parts, 'a', about)
    redis.call('ZADD', LEASES, expires, id)
end

local function add_hold(id, made, expires, settled, parts, about)
    for _, part in ipairs(cjson.decode(parts)) do held(part, 1) end
    keep_hold(id, made, expires, settled, parts, about)
end

local function take_hold(id)
    local key = prefix .. 'h:' .. id
    local found = redis.call('HMGET', key, 'm', 'e', 's', 'p', 'a')
    if not found[1] then return nil end
    for _, part in ipairs(cjson.decode(found[4])) do held(part, -1) end
    redis.call('DEL', key)
    redis.call('ZREM', LEASES, id)
    return found
end

-- A step does at most so much of others' work.
local function expire()
    for _, id in ipairs(redis.call('ZRANGEBYSCORE', LEASES, '-inf', text(now), 'LIMIT', 0, 100)) do
        local hold = take_hold(id)
        if hold == nil then
            redis.call('ZREM', LEASES, id)
        elseif hold[3] == '1' then
            for _, part in ipairs(cjson.decode(hold[4])) do use(part, tonumber(hold[1]), part[7], part[8]) end
        else
            redis.call('INCR', prefix .. 'leaked')
        end
    end
end

local function readings(places)
    local answer = {}
    for _, place in ipairs(places) do
        local uh, ul, hh, hl, wh, wl = read(bucket_of(place), place)
        for _, number in ipairs({uh, ul, hh, hl, wh, wl}) do answer[#answer + 1] = text(number) end
    end
    return answer
end

local state = redis.call('GET', KEYS[1])
if command ~= 'count_anew' and command ~= 'restore' and string.sub(state or '', 1, 5) ~= 'ready' then
    return {'away', state or 'lost'}
end

if command == 'hold' then
    -- demand: a part with its cap and bound after it, and whether it refuses
    expire()
    local answer, passes, demands, found = {'ok'}, true, cjson.decode(ARGV[6]), {}
    for i, d in ipairs(demands) do
        local bucket = bucket_of(d)
        local uh, ul, hh, hl, wh, wl, noted = read(bucket, d)
        local ah, al = sum(uh, ul, hh, hl)
        ah, al = sum(ah, al, d[7], d[8])
        local bh, bl = sum(uh, ul, wh, wl)
        bh, bl = sum(bh, bl, d[9], d[10])
        local fits = at_most(ah, al, d[11], d[12]) and at_most(bh, bl, d[13], d[14])
        answer[i + 1] = string.format('%.0f %.0f %.0f %.0f %.0f %.0f %d', uh, ul, hh, hl, wh, wl, fits and 1 or 0)
        found[i] = {bucket, hh, hl, wh, wl, noted}
        passes = passes and (fits or d[15] == 0)
    end
    if passes and ARGV[3] ~= '' then
        for i, d in ipairs(demands) do
            local f = found[i]
            local hh, hl = sum(f[2], f[3], d[7], d[8])
            local wh, wl = sum(f[4], f[5], d[9], d[10])
            redis.call('HSET', f[1], 'hh', hh, 'hl', hl, 'wh', wh, 'wl', wl)
            note(f[1], d, f[6])
        end
        keep_hold(ARGV[3], ARGV[2], ARGV[4], '0', ARGV[6], ARGV[5])
    end
    return answer

elseif command == 'release' then
    return {'ok', take_hold(ARGV[3]) and '1' or '0'}

elseif command == 'settle' then
    local hold = take_hold(ARGV[3])
    if hold == nil then return {'ok', '0'} end
    add_hold(ARGV[3], hold[1], ARGV[4], '1', ARGV[5], hold[5])
    return {'ok', '1'}

elseif command == 'extend' then
    local key = prefix .. 'h:' .. ARGV[3]
    local settled = redis.call('HGET', key, 's')
    if settled ~= '0' then return {'ok', '0'} end
    redis.call('HSET', key, 'e', ARGV[4])
    redis.call('ZADD', LEASES, ARGV[4], ARGV[3])
    return {'ok', '1'}

elseif command == 'post' then
    -- posting: entry id, hold id, [[place ..., at, high, low] ...]; an entry that was counted already changes nothing
    expire()
    for _, posting in ipairs(cjson.decode(ARGV[3])) do
        if posting[1] == '' or redis.call('SET', prefix .. 'e:' .. posting[1], '1', 'NX', 'EX', ARGV[4]) then
            if posting[2] ~= '' then take_hold(posting[2]) end
            for _, amount in ipairs(posting[3]) do use(amount, amount[7], amount[8], amount[9]) end
        end
    end
    return {'ok'}

elseif command == 'read' then
    expire()
    return {'ok', unpack(readings(cjson.decode(ARGV[3])))}

elseif command == 'count_anew' then
    -- limit, whether to begin at nothing, [[place ..., at, high, low] ...]
    if ARGV[4] == '1' then
        for _, start in ipairs(redis.call('SMEMBERS', prefix .. 'w:' .. ARGV[3])) do
            for _, key in ipairs(redis.call('SMEMBERS', prefix .. 'i:' .. ARGV[3] .. ':' .. start)) do
                local bucket, gone = prefix .. 'b:' .. ARGV[3] .. ':' .. start .. ':' .. key, {'uh', 'ul', 'o'}
                for _, field in ipairs(redis.call('HKEYS', bucket)) do
                    if string.sub(field, 1, 1) == 's' then gone[#gone + 1] = field end
                end
                redis.call('HDEL', bucket, unpack(gone))
            end
        end
    end
    for _, amount in ipairs(cjson.decode(ARGV[5])) do use(amount, amount[7], amount[8], amount[9]) end
    return {'ok'}

elseif command == 'restore' then
    -- a hold that was made before the counters were lost
    if redis.call('EXISTS', prefix .. 'h:' .. ARGV[3]) == 0 then
        add_hold(ARGV[3], ARGV[4], ARGV[5], ARGV[6], ARGV[7], ARGV[8])
    end
    return {'ok'}

elseif command == 'forget' then
    for _, start in ipairs(redis.call('SMEMBERS', prefix .. 'w:' .. ARGV[3])) do
        local index = prefix .. 'i:' .. ARGV[3] .. ':' .. start
        for _, key in ipairs(redis.call('SMEMBERS', index)) do
            redis.call('UNLINK', prefix .. 'b:' .. ARGV[3] .. ':' .. start .. ':' .. key)
        end
        redis.call('UNLINK', index)
    end
    redis.call('UNLINK', prefix .. 'w:' .. ARGV[3])
    return {'ok'}
end
return redis.error_reply('unknown command ' .. command)
