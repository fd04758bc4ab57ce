# needs: memcached=memcached python3=python3
# methods: epoll poll select
. "$PROGRAMS/lib.bash"
port=$(free_port)
for other in EPOLL POLL SELECT; do
    [ "${METHOD^^}" = $other ] || ON+=("EVENT_NO$other=1")
done
user=()
[ "$(id -u)" != 0 ] || user=(-u "$(id -un)")
on memcached -l 127.0.0.1 -p "$port" -t 4 "${user[@]}" &
server=$!
answers "$port" $server
uses $server
python3 - "$port" <<'PY'
import random, socket, sys, threading
port = int(sys.argv[1])
failures = []
def client(n):
    try:
        r = random.Random(n)
        for _ in range(6):
            s = socket.create_connection(("127.0.0.1", port)); s.settimeout(60)
            f = s.makefile("rb")
            for i in range(80):
                key, value = f"k{n}.{i}", bytes(r.randrange(256) for _ in range(r.choice([1, 100, 5000])))
                s.sendall(f"set {key} 0 0 {len(value)}\r\n".encode() + value + b"\r\n")
                assert f.readline() == b"STORED\r\n"
                s.sendall(f"get {key}\r\n".encode())
                assert f.readline() == f"VALUE {key} 0 {len(value)}\r\n".encode()
                assert f.read(len(value) + 2) == value + b"\r\n"
                assert f.readline() == b"END\r\n"
            # Some go without a word, in the middle of a request.
            if r.random() < 0.3:
                s.sendall(b"set half 0 0 100\r\nhalf")
            s.close()
    except Exception as e:
        failures.append(repr(e))
threads = [threading.Thread(target=client, args=(n,)) for n in range(40)]
[t.start() for t in threads]; [t.join() for t in threads]
print(len(failures), "failures", failures[:3])
sys.exit(bool(failures))
PY
kill -TERM $server
ends $server
