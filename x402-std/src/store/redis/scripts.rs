//! The scripts, each of which makes one step.

use std::sync::LazyLock;

use redis::Script;

/// A claim is one string: `<claimed at> <gone from> <resource> <state>`. The first is the caller's time, in
/// 20 digits, so that texts compare as numbers do. The second is Redis's time from which the claim may be
/// gone, empty for never; some states are kept longer. The resource is in hexadecimal.
///
/// A record is another string, `<role> <bytes>`, which expires with its claim. Each role has a sorted set of
/// its pending claims with a record. A member is the claim's name, its 64 hexadecimal digits. Its score is
/// Redis's time from which the claim may be handed out.
///
/// Each script makes one step.
///
/// Key: the claim. Arguments: now, the resource, the time before which an abandoned claim was made (empty for
/// no lease), seconds until the claim may be gone (empty for never), seconds for which it is kept longer
/// until it moves. Returns the claim, or nothing if the caller holds it now.
pub(super) static PRESENT: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        r"local claim = redis.call('GET', KEYS[1])
if claim then
    local claimed_at, rest = string.match(claim, '^(%d+)( .*)$')
    if claimed_at and claimed_at < ARGV[3]
        and string.match(rest, '^ %d* (.*)$') == ARGV[2] .. ' claimed' then
        redis.call('SET', KEYS[1], ARGV[1] .. rest, 'KEEPTTL')
        return false
    end
    return claim
end
if ARGV[4] == '' then
    redis.call('SET', KEYS[1], ARGV[1] .. '  ' .. ARGV[2] .. ' claimed')
else
    local gone = string.format('%.0f', redis.call('TIME')[1] + ARGV[4])
    redis.call('SET', KEYS[1], ARGV[1] .. ' ' .. gone .. ' ' .. ARGV[2] .. ' claimed',
        'EX', string.format('%.0f', ARGV[4] + ARGV[5]))
end
return false",
    )
});

/// Keys: the claim, its record, and the pending claims of sellers and of facilitators. Arguments: the old
/// state, the new state, seconds for which the new state is kept after the payment's end, seconds for which
/// the claim is kept from now at least, the claim's name, `broadcast`, `failed` or nothing, the record (empty
/// to leave it), seconds until a broadcast claim is due.
///
/// The expiry goes first, as it needs no memory. After it, Redis gives the rest of the script memory even if
/// it is full, so work that was begun can end.
pub(super) static ADVANCE: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        r"local claim = redis.call('GET', KEYS[1]) or ''
local head, gone, state = string.match(claim, '^(%d+ (%d*) %x+ )(.*)$')
if state ~= ARGV[1] then return 0 end
local now = redis.call('TIME')[1]
local at
if gone == '' then
    redis.call('PERSIST', KEYS[1])
else
    at = string.format('%.0f', math.max(gone + ARGV[3], now + ARGV[4]))
    redis.call('EXPIREAT', KEYS[1], at)
end
redis.call('SET', KEYS[1], head .. ARGV[2], 'KEEPTTL')
if ARGV[6] == 'failed' then
    redis.call('DEL', KEYS[2])
elseif ARGV[7] ~= '' then
    redis.call('SET', KEYS[2], ARGV[7])
end
if at then redis.call('EXPIREAT', KEYS[2], at) end
local role = ARGV[6] == 'broadcast' and redis.call('GETRANGE', KEYS[2], 0, 0)
if role == 's' then
    redis.call('ZADD', KEYS[3], 'NX', now + ARGV[8], ARGV[5])
elseif role == 'f' then
    redis.call('ZADD', KEYS[4], 'NX', now + ARGV[8], ARGV[5])
else
    redis.call('ZREM', KEYS[3], ARGV[5])
    redis.call('ZREM', KEYS[4], ARGV[5])
end
return 1",
    )
});

/// Keys: the claim and its record. Argument: the claim's state.
pub(super) static RELEASE: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        r"local claim = redis.call('GET', KEYS[1]) or ''
if string.match(claim, '^%d+ %d* %x+ (.*)$') ~= ARGV[1] then return 0 end
redis.call('DEL', KEYS[2])
return redis.call('DEL', KEYS[1])",
    )
});

/// Key: the pending claims of a role. Arguments: the most to hand out, seconds until each is due again.
/// Returns their names.
pub(super) static PENDING: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        r"local now = redis.call('TIME')[1]
local due = redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', now, 'LIMIT', 0, ARGV[1])
for _, name in ipairs(due) do
    redis.call('ZADD', KEYS[1], now + ARGV[2], name)
end
return due",
    )
});
