# needs: cc=gcc make=make apt-get=apt tclsh=tcl python3=python3
# methods: kqueue
# redis told that it is not on Linux, under its own tests.
. "$PROGRAMS/lib.bash"
source_of redis
cd source
sed -i 's/#define HAVE_EPOLL 1/#define HAVE_KQUEUE 1/' src/config.h
deps="../deps/hiredis/libhiredis.a ../deps/lua/src/liblua.a ../deps/hdr_histogram/libhdrhistogram.a"
built make -j 2 MALLOC=libc OPTIMIZATION=-O1 REDIS_CFLAGS="$COMPILE" FINAL_LIBS="$LINK -lm -ldl -pthread -lrt $deps"
port=$(free_port)
src/redis-server --port "$port" --bind 127.0.0.1 --save '' >redis.log &
server=$!
answers "$port" $server
uses $server
src/redis-cli -p "$port" INFO server | grep -q multiplexing_api:kqueue || fail "redis does not wait by kqueue"
src/redis-cli -p "$port" SHUTDOWN NOSAVE || true
ends $server
# As root no file is unreadable, which one of them is about.
./runtest --clients 2 --tags -slow --skipunit unit/oom-score-adj
