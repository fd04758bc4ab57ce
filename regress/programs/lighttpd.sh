# needs: lighttpd=lighttpd ab=apache2-utils curl=curl python3=python3
# methods: poll select epoll
. "$PROGRAMS/lib.bash"
mkdir www
head -c 1024 /dev/urandom | base64 >www/page
head -c 3000000 /dev/urandom >www/data
port=$(free_port)
handler=$METHOD
[ "$METHOD" != kqueue ] || handler=freebsd-kqueue
[ "$METHOD" != epoll ] || handler=linux-sysepoll
cat >lighttpd.conf <<CONF
server.document-root = "$PWD/www"
server.bind = "127.0.0.1"
server.port = $port
server.event-handler = "$handler"
server.max-fds = 1024
CONF
on lighttpd -D -f lighttpd.conf &
server=$!
answers "$port" $server
uses $server
web_load "$port"
kill -INT $server
ends $server
