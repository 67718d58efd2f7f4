// The real program as a process for tests in Node: started on free ports in a folder of its own, ended with the test.
import { spawn } from 'node:child_process';
import { createHash, createHmac } from 'node:crypto';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const BINARY = process.env.FAMA_BIN ?? fileURLToPath(new URL('../../target/debug/fama', import.meta.url));
const SECRET = 'a secret of the tests, 32 bytes or more';
const KEY = 'test-service-key';
const START_LIMIT_MS = 60_000;
const LINES_KEPT = 200;

const base64 = (value) => Buffer.from(value).toString('base64url');

/** A token as an app would make it. */
export function token(user, ttlSeconds = 3600, more = {}) {
  const claims = { sub: user, exp: Math.floor(Date.now() / 1000) + ttlSeconds, ...more };
  const signed = `${base64('{"alg":"HS256","typ":"JWT"}')}.${base64(JSON.stringify(claims))}`;
  return `${signed}.${createHmac('sha256', SECRET).update(signed).digest('base64url')}`;
}

/** Starts `fama serve`, with `config` as more TOML, or `fama <args>`. Call `stop()` at the end, always. */
export async function start({ args, config = '' } = {}) {
  const folder = mkdtempSync(join(tmpdir(), 'fama-node-'));
  const file = join(folder, 'fama.toml');
  const digest = createHash('sha256').update(KEY).digest('hex');
  writeFileSync(
    file,
    `[server]\nlisten = "127.0.0.1:0"\nadmin_listen = "127.0.0.1:0"\n[storage]\npath = "${join(folder, 'data')}"\n` +
      `[auth]\nhmac_secret = "${SECRET}"\napi_keys = ["tests:${digest}"]\n` +
      `[limits]\nuser_per_minute = 0\naddress_per_minute = 0\n${config}`,
  );
  const child = spawn(BINARY, args ?? ['serve', '--config', file], {
    cwd: folder,
    // What it leaves in a temporary folder goes with ours.
    env: { ...process.env, TMPDIR: folder },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  const lines = [];
  const exited = new Promise((resolve) => child.once('exit', resolve));
  const stop = async () => {
    child.kill('SIGKILL');
    await exited;
    rmSync(folder, { recursive: true, force: true });
    const panic = lines.find((line) => line.includes('panicked at'));
    if (panic) throw new Error(`the server panicked: ${panic}`);
  };
  try {
    const url = await listening(child, lines);
    return new Server(url, stop, lines);
  } catch (error) {
    await stop();
    throw error;
  }
}

function listening(child, lines) {
  return new Promise((resolve, reject) => {
    const fail = (why) => reject(new Error(`${why}:\n${lines.join('\n')}`));
    const timer = setTimeout(() => fail('the server did not say where it listens'), START_LIMIT_MS);
    const settle = (done) => (value) => {
      clearTimeout(timer);
      done(value);
    };
    child.once('error', settle(reject));
    child.once('exit', settle((code) => fail(`the server ended with ${code}`)));
    for (const stream of [child.stdout, child.stderr]) {
      let rest = '';
      stream.setEncoding('utf8').on('data', (text) => {
        const parts = (rest + text).split('\n');
        rest = parts.pop();
        for (const line of parts) {
          lines.push(line);
          if (lines.length > LINES_KEPT) lines.shift();
          const address = line.match(/listening on (http:\/\/[0-9.:]+)/);
          if (address) settle(resolve)(address[1]);
        }
      });
    }
  });
}

class Server {
  constructor(url, stop, lines) {
    this.url = url;
    this.ws = `${url.replace('http', 'ws')}/connection/websocket`;
    this.stop = stop;
    this.lines = lines;
  }

  /** A request of the app's backend, acting for a user. */
  async call(user, method, path, body) {
    const response = await fetch(this.url + path, {
      method,
      headers: { 'X-API-Key': KEY, 'Fama-User': user, ...(body && { 'Content-Type': 'application/json' }) },
      body: body && JSON.stringify(body),
    });
    const text = await response.text();
    if (!response.ok) throw new Error(`${method} ${path}: ${response.status} ${text}`);
    return text ? JSON.parse(text) : null;
  }

  publish(author, text) {
    return this.call(author, 'POST', '/v1/posts', { text });
  }

  follow(user, author) {
    return this.call(user, 'PUT', `/v1/following/${author}`);
  }
}

/** Waits until `ask` gives something true. */
export async function eventually(what, ask, limitMs = 10_000) {
  const end = Date.now() + limitMs;
  for (;;) {
    const answer = await ask();
    if (answer) return answer;
    if (Date.now() > end) throw new Error(`${what}: not within ${limitMs} ms`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}
