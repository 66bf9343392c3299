// A server in Node.js: libuv's loop and thread pool, timers, a worker thread.
// GET / answers with a nonce and the number of requests so far;
// GET /rest pauses all else until GET /work.
'use strict';
const crypto = require('crypto');
const fs = require('fs');
const http = require('http');
const { Worker, isMainThread, parentPort } = require('worker_threads');

if (!isMainThread) {
  parentPort.on('message', (n) => parentPort.postMessage(n + 1));
  return;
}

const nonce = crypto.randomBytes(8).toString('hex');
const problems = [];
let requests = 0;

// A worker that counts up what it is sent.
const worker = new Worker(__filename);
let sent = 0;
let resting = false;
let rests = 0;
const send = () => { if (!resting) worker.postMessage(sent); };
worker.on('message', (n) => {
  if (n !== sent + 1) problems.push(`worker: ${n} came for ${sent}`);
  sent = n;
  setTimeout(send, 5);
});

// Work for the thread pool.
function pool() {
  crypto.pbkdf2('secret', 'salt', 100, 32, 'sha256', (err, key) => {
    if (err) problems.push(String(err));
    else if (key.length !== 32) problems.push('pbkdf2: a short key');
  });
  fs.stat(__filename, (err) => { if (err) problems.push(String(err)); });
}

// Timers that must neither stop nor come all at once.
let ticks = 0;
let timers = [];
function work() {
  resting = false;
  timers = [setInterval(() => { ticks++; }, 10), setInterval(pool, 20)];
  send();
}
function rest() {
  resting = true;
  rests++;
  timers.forEach(clearInterval);
  timers = [];
  gc();
}
work();

http.createServer((request, response) => {
  const answer = () => response.end(problems.length ? problems.join('; ') : `${nonce} ${requests}\n`);
  if (request.url === '/rest') {
    rest();
    setTimeout(answer, 100); // for what is under way
    return;
  }
  if (request.url === '/work') {
    if (resting) work();
    answer();
    return;
  }
  requests++;
  const before = ticks;
  // A request whose client has given up may still be here when the timers are stopped.
  const rested = rests;
  const ticked = () => ticks !== before || resting || rests !== rested;
  setTimeout(() => {
    if (ticked()) return answer();
    // After a standstill both may be due at once, in either order.
    setTimeout(() => {
      if (!ticked()) problems.push('the interval timer stands still');
      answer();
    }, 500);
  }, 30);
}).listen(8080, '127.0.0.1');
