# needs: haproxy=haproxy nginx=nginx-light ab=apache2-utils curl=curl python3=python3
# methods: poll select epoll
. "$PROGRAMS/lib.bash"
from=$(free_port)
origin "$from"
port=$(free_port)
others=
case $METHOD in
poll | kqueue) others=noepoll ;;
select) others=$'noepoll\n    nopoll' ;;
esac
cat >haproxy.cfg <<CONF
global
    maxconn 400
    nbthread 2
    $others
defaults
    mode http
    timeout connect 20s
    timeout client 60s
    timeout server 60s
frontend all
    bind 127.0.0.1:$port
    default_backend origin
backend origin
    server origin 127.0.0.1:$from
CONF
on haproxy -d -f haproxy.cfg >haproxy.log 2>&1 &
proxy=$!
answers "$port" $proxy
uses $proxy
grep -q "Using $METHOD()" haproxy.log || fail "haproxy does not wait by $METHOD"
web_load "$port"
kill -TERM $proxy
ends $proxy 143
