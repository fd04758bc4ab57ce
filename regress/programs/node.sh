# needs: node=nodejs ab=apache2-utils curl=curl python3=python3
# methods: epoll
. "$PROGRAMS/lib.bash"
mkdir www
head -c 1024 /dev/urandom | base64 >www/page
head -c 3000000 /dev/urandom >www/data
port=$(free_port)
cat >server.js <<'JS'
const fs = require('fs'), http = require('http'), { spawn } = require('child_process');
const server = http.createServer((request, response) => {
  if (request.url === '/spawn') {
    const child = spawn('cat', ['www/page']);
    child.stdout.pipe(response);
    return;
  }
  fs.createReadStream('www' + request.url).on('error', () => { response.statusCode = 404; response.end(); })
    .pipe(response);
});
server.listen(+process.argv[2], '127.0.0.1');
process.on('SIGTERM', () => { server.close(); server.closeAllConnections(); });
JS
on node server.js "$port" &
server=$!
answers "$port" $server
uses $server
web_load "$port"
for _ in 1 2 3 4 5 6 7 8; do curl -sS "http://127.0.0.1:$port/spawn" | cmp - www/page || fail "a child's output differs"; done
# The client side: 200 requests, timers and a worker at once.
cat >client.js <<'JS'
const http = require('http'), { Worker } = require('worker_threads');
const port = +process.argv[2], agent = new http.Agent({ keepAlive: true, maxSockets: 40 });
const get = path => new Promise((done, failed) => http.get({ port, host: '127.0.0.1', path, agent }, r => {
  let n = 0; r.on('data', d => { n += d.length; }); r.on('end', () => done(n));
}).on('error', failed));
const tick = new Promise(done => { let n = 0; const t = setInterval(() => { if (++n === 50) { clearInterval(t); done(n); } }, 2); });
const worker = new Promise(done => new Worker('require("worker_threads").parentPort.postMessage(42)', { eval: true }).on('message', done));
Promise.all([...Array(200).keys()].map(i => get(i % 20 ? '/page' : '/data'))).then(async all => {
  const sum = all.reduce((a, b) => a + b), size = p => require('fs').statSync('www/' + p).size;
  if (sum !== 190 * size('page') + 10 * size('data') || await worker !== 42 || await tick !== 50) process.exit(1);
  agent.destroy();
}).catch(e => { console.error(e); process.exit(1); });
JS
run node client.js "$port"
kill -TERM $server
ends $server
