# needs: redis-server=redis-server redis-benchmark=redis-tools redis-cli=redis-tools python3=python3
# methods: epoll
. "$PROGRAMS/lib.bash"
port=$(free_port)
on redis-server --port "$port" --bind 127.0.0.1 --save '' --io-threads 2 >redis.log &
server=$!
answers "$port" $server
uses $server
said=$(run redis-benchmark -p "$port" -n 20000 -c 50 -P 4 -q -t set,get,lpush,lrange_100,mset 2>&1 | tr '\r' '\n')
echo "$said" | grep 'requests per second'
[ "$(echo "$said" | grep -c 'requests per second')" -ge 5 ] || fail "redis-benchmark: $said"
# A blocked client is woken by another one; a forked child writes the data meanwhile.
run redis-cli -p "$port" BLPOP waited 60 >popped &
waiter=$!
until [ "$(redis-cli -p "$port" INFO clients | tr -d '\r' | sed -n 's/^blocked_clients://p')" = 1 ]; do sleep 0.05; done
redis-cli -p "$port" BGSAVE
redis-cli -p "$port" LPUSH waited it
wait $waiter
grep -qx it popped || fail "the blocked client got something else"
redis-cli -p "$port" SHUTDOWN NOSAVE || true
ends $server
