# What the scripts of this folder share. `regress programs` runs each of them, in an empty folder,
# once natively and once for each setting of the library under test:
#
#   METHOD   the calls that the program shall wait by
#   LIBRARY  the library to preload; empty natively
#   POLICY   the setting of the poll and select libraries; empty where there is none
#
# A script ends with 0 if the program did all that it should, and with 77 if it could not be tried, for a
# reason that it prints. Its first lines say what it needs
# (`# needs: COMMAND=PACKAGE ...`) and by which methods the program can wait (`# methods: ...`).
# It leaves no process behind: the group is ended after it.
set -euo pipefail

ON=()
# What calls kqueue is linked with its library.
[ -z "$LIBRARY" ] || [ "$METHOD" = kqueue ] || ON+=("LD_PRELOAD=$LIBRARY")
[ -z "$POLICY" ] || ON+=("KQCOMPAT_POLICY=$POLICY")

fail() {
    echo "FAIL: $*" >&2
    exit 1
}

# cannot REASON: the program cannot be tried here.
cannot() {
    echo "$*"
    exit 77
}

# on CMD...: becomes the program on the library. In the background, $! is the program.
on() { exec env "${ON[@]}" "$@"; }

# run CMD...: runs a program on the library.
run() { env "${ON[@]}" "$@"; }

# uses PID: the process has the library loaded, where there is one.
uses() {
    [ -z "$LIBRARY" ] || grep -q "$(basename "$LIBRARY")" "/proc/$1/maps" ||
        fail "process $1 does not have the library"
}

# source_of PACKAGE: unpacks Debian's source of it into the folder `source`, and sets what a program that
# calls kqueue is compiled and linked with.
source_of() {
    apt-get source -qq --download-only "$1" >/dev/null 2>&1 ||
        cannot "the source of $1: a deb-src line for apt-get"
    mkdir source
    tar -xf "$(find . -maxdepth 1 -name "*.orig.tar.*" ! -name '*.asc')" -C source --strip-components 1
    COMPILE="-I$PROGRAMS/../../core/c/include"
    local folder
    folder=$(dirname "$LIBRARY")
    LINK="-L$folder -Wl,-rpath,$folder -Wl,--no-as-needed -lkqcompat_kqueue"
}

# built CMD...: makes it.
built() {
    "$@" >build.log 2>&1 || fail "$*: $(tail -n 5 build.log)"
}

# free_port: a port that nobody listens on.
free_port() {
    python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'
}

# answers PORT PID: waits until somebody accepts connections there; fails if the process ends.
answers() {
    until (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; do
        kill -0 "$2" 2>/dev/null || fail "process $2 ended before it listened"
        sleep 0.05
    done
}

# ends PID [STATUS]: waits for the program, which was told to end.
ends() {
    local status=0
    wait "$1" || status=$?
    [ "$status" = "${2:-0}" ] || fail "process $1 ended with $status"
}

# origin PORT: a web server, natively, with a small page and 3 MB of data.
origin() {
    mkdir -p www
    head -c 1024 /dev/urandom | base64 >www/page
    head -c 3000000 /dev/urandom >www/data
    web_conf "$1" epoll >origin.conf
    nginx -e "$PWD/origin.err" -c "$PWD/origin.conf" &
    ORIGIN=$!
    answers "$1" $ORIGIN
}

# web_conf PORT METHOD: a configuration of nginx.
web_conf() {
    cat <<CONF
worker_processes 2; daemon off; pid $PWD/nginx.$1.pid; error_log $PWD/nginx.$1.err info;
$([ "$(id -u)" != 0 ] || echo "user root;")
events { worker_connections 1024; use $2; }
http {
    access_log off; keepalive_requests 100000;
    client_body_temp_path $PWD/t1; proxy_temp_path $PWD/t2; fastcgi_temp_path $PWD/t3;
    uwsgi_temp_path $PWD/t4; scgi_temp_path $PWD/t5;
    server { listen 127.0.0.1:$1 backlog=1024; root $PWD/www; }
}
CONF
}

# requests COUNT CONCURRENCY URL [-k]: each of them is answered, and in full.
requests() {
    local said
    said=$(ab -q -s 60 -n "$1" -c "$2" ${4:-} "$3" 2>&1) || fail "ab: $said"
    echo "$said" | grep -E 'Requests per second'
    echo "$said" | grep -Eq "Complete requests: +$1$" || fail "not all requests were answered: $said"
    echo "$said" | grep -Eq 'Failed requests: +0$' || fail "some requests failed: $said"
    ! echo "$said" | grep -q 'Non-2xx' || fail "some answers were no success: $said"
}

# web_load PORT: what every web server has to bear.
web_load() {
    local url=http://127.0.0.1:$1
    curl -sS "$url/data" | cmp - www/data || fail "the data came otherwise"
    requests 3000 50 "$url/page"
    requests 5000 50 "$url/page" -k
    requests 60 10 "$url/data"
    # Clients that are slow, and clients that go away.
    local slow=() i
    for i in 1 2 3 4 5; do
        curl -sS --limit-rate 3M "$url/data" -o "slow.$i" & slow+=($!)
        timeout 0.2 curl -sS --limit-rate 100K "$url/data" -o /dev/null || true
    done
    for i in "${slow[@]}"; do wait "$i" || fail "a slow client was not served"; done
    for i in 1 2 3 4 5; do cmp "slow.$i" www/data || fail "a slow client got other data"; done
}
