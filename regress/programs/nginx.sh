# needs: nginx=nginx-light ab=apache2-utils curl=curl python3=python3
# methods: epoll
. "$PROGRAMS/lib.bash"
mkdir www
head -c 1024 /dev/urandom | base64 >www/page
head -c 3000000 /dev/urandom >www/data
port=$(free_port)
web_conf "$port" "$METHOD" >nginx.conf
on nginx -e "$PWD/nginx.err" -c "$PWD/nginx.conf" &
server=$!
answers "$port" $server
uses $server
web_load "$port"
# New workers take over while there is load.
requests 5000 20 "http://127.0.0.1:$port/page" & load=$!
kill -HUP $server
wait $load || fail "requests were lost when the workers changed"
web_load "$port"
kill -QUIT $server
ends $server
