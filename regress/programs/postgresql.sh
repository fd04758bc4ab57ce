# needs: pg_ctl=postgresql pgbench=postgresql psql=postgresql python3=python3
# methods: epoll poll
# The server waits by epoll; pgbench and psql by poll.
. "$PROGRAMS/lib.bash"
port=$(free_port)
mkdir data
as=()
if [ "$(id -u)" = 0 ]; then
    as=(setpriv --reuid=postgres --regid=postgres --clear-groups)
    chown postgres data .
fi
"${as[@]}" initdb -D data -A trust --no-sync >initdb.log
on "${as[@]}" postgres -D data -p "$port" -k "$PWD" -c listen_addresses=127.0.0.1 -c fsync=off >server.log 2>&1 &
server=$!
answers "$port" $server
uses $server
sql() { run psql -h 127.0.0.1 -p "$port" -U postgres -qAt "$@" postgres; }
until sql -c 'select 1' >/dev/null 2>&1; do kill -0 $server || fail "the server ended"; sleep 0.1; done
bench() { run pgbench -n -h 127.0.0.1 -p "$port" -U postgres "$@" postgres; }
bench -i -I dtg -s 2 >bench.init 2>&1 || fail "$(cat bench.init)"
# One thread of pgbench waits for all of its clients at once.
for how in "-c 40 -j 2 -t 50" "-c 30 -j 1 -t 30 -C" "-c 16 -j 4 -T 3 -P 1 -R 200"; do
    bench $how >bench.log 2>&1 || fail "pgbench $how: $(cat bench.log)"
    grep -q 'number of failed transactions: 0 ' bench.log || fail "pgbench $how: $(cat bench.log)"
    grep 'tps' bench.log | tail -1
done
[ "$(sql -c 'select (select sum(delta) from pgbench_history) = (select sum(abalance) from pgbench_accounts)')" = t ] ||
    fail "the sums differ"
# One waits for another; a notification wakes a third; the server is told to cancel.
sql -c 'listen word' -c 'select pg_sleep(1)' -c 'select 1' >heard & listener=$!
sql -c 'select pg_sleep(0.5)' -c 'notify word' >/dev/null
wait $listener
grep -q 'Asynchronous notification "word"' heard || fail "no notification came"
sql -c "set statement_timeout = 200" -c "select pg_sleep(100)" >cancelled 2>&1 && fail "nothing was cancelled"
grep -q 'statement timeout' cancelled || fail "$(cat cancelled)"
kill -INT $server
ends $server
