# needs: curl=curl nginx=nginx-light ab=apache2-utils python3=python3
# methods: poll
. "$PROGRAMS/lib.bash"
port=$(free_port)
origin "$port"
mkdir got
{
    for i in $(seq 60); do
        printf 'url = "http://127.0.0.1:%s/%s"\noutput = "got/%s"\n' "$port" "$([ $((i % 3)) = 0 ] && echo data || echo page)" "$i"
    done
} >urls
run curl -sS -Z --parallel-max 50 -K urls
for i in $(seq 60); do
    cmp "got/$i" "www/$([ $((i % 3)) = 0 ] && echo data || echo page)" || fail "download $i differs"
done
run curl -sS --limit-rate 2M "http://127.0.0.1:$port/data" | cmp - www/data
run curl -sS -T www/data "http://127.0.0.1:$port/upload" -o /dev/null
status=0
run curl -sS -m 1 "http://127.0.0.1:$port/data" --limit-rate 10K -o /dev/null 2>/dev/null || status=$?
[ $status = 28 ] || fail "curl ended with $status, not at its limit of time"
