# needs: /usr/sbin/sshd=openssh-server ssh=openssh-client sftp=openssh-client python3=python3
# methods: poll
. "$PROGRAMS/lib.bash"
[ "$(id -u)" = 0 ] || fail "sshd runs as root here"
port=$(free_port)
mkdir -p /run/sshd
ssh-keygen -q -t ed25519 -N '' -f host
ssh-keygen -q -t ed25519 -N '' -f me
cp me.pub known
head -c 5000000 /dev/urandom >data
cat >sshd_config <<CONF
Port $port
ListenAddress 127.0.0.1
HostKey $PWD/host
AuthorizedKeysFile $PWD/known
StrictModes no
PidFile none
UsePAM no
PermitRootLogin yes
Subsystem sftp internal-sftp
MaxStartups 100
CONF
on /usr/sbin/sshd -D -e -f "$PWD/sshd_config" 2>sshd.log &
server=$!
answers "$port" $server
uses $server
options=(-p "$port" -F none -i me -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null -o LogLevel=ERROR -o BatchMode=yes)
there() { run ssh "${options[@]}" 127.0.0.1 "$@"; }
there cat "$PWD/data" </dev/null | cmp - data || fail "what came differs"
there "cat >$PWD/sent" <data
cmp sent data || fail "what was sent differs"
[ "$(there 'exit 7' </dev/null; echo $?)" = 7 ] || fail "the exit status was lost"
jobs=()
for i in $(seq 12); do there "cat $PWD/data; sleep 0.$i" </dev/null >"got.$i" & jobs+=($!); done
for job in "${jobs[@]}"; do wait "$job" || fail "one of twelve sessions failed: $(cat sshd.log)"; done
for i in $(seq 12); do cmp "got.$i" data || fail "session $i got other data"; done
printf 'put data put.%s\nget put.%s got\n' 1 1 >batch
run sftp -q -P "$port" "${options[@]:2}" -b <(sed "s,put\.1,$PWD/put.1,g" batch) 127.0.0.1
cmp got data || fail "sftp brought other data"
# One connection for many sessions, and a forwarded port.
run ssh "${options[@]}" -M -S "$PWD/master" -N -L "$PWD/forward:127.0.0.1:$port" 127.0.0.1 &
master=$!
until [ -S master ] && [ -S forward ]; do kill -0 $master || fail "no master"; sleep 0.05; done
jobs=()
for i in $(seq 8); do run ssh "${options[@]}" -S "$PWD/master" 127.0.0.1 "cat $PWD/data" </dev/null >"got.$i" & jobs+=($!); done
for job in "${jobs[@]}"; do wait "$job" || fail "a session of eight failed"; done
for i in $(seq 8); do cmp "got.$i" data || fail "session $i got other data"; done
python3 - <<'PY'
import socket
s = socket.socket(socket.AF_UNIX); s.settimeout(60); s.connect("forward")
assert s.recv(8).startswith(b"SSH-2.0"), "nothing came by the forwarded port"
PY
kill -TERM $master
wait $master || true
kill -TERM $server
ends $server
