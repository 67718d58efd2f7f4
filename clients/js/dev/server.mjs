// `npm run dev [-- --server http://127.0.0.1:8000] [--port 5173]`: the page as the sources give it now, before a running
// `fama demo`. Everything that is not a file of the page goes on to the server, sockets too.
import { existsSync, mkdtempSync, readFileSync } from 'node:fs';
import { createServer, request } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { buildDemo } from '../scripts/build.mjs';
import { OUTPUTS } from '../scripts/sources.mjs';

const { values: args } = parseArgs({
  options: { server: { type: 'string', default: 'http://127.0.0.1:8000' }, port: { type: 'string', default: '5173' } },
});
const server = new URL(args.server);
const built = mkdtempSync(join(tmpdir(), 'fama-dev-'));
const types = {
  html: 'text/html; charset=utf-8',
  js: 'text/javascript; charset=utf-8',
  css: 'text/css; charset=utf-8',
  svg: 'image/svg+xml',
};
/** As the server sends it. */
const POLICY = "default-src 'self'; connect-src 'self' ws: wss:; img-src 'self' data:";

/** On a connection of its own: the server takes an upgrade as the first request of one. */
const onward = ({ url, method, headers }) =>
  request({ host: server.hostname, port: server.port || 80, path: url, method, headers, agent: false });

async function handle(incoming, response) {
  const path = incoming.url.split('?')[0];
  const name = path === '/' ? 'index.html' : path.slice(1);
  if (!OUTPUTS.includes(name)) {
    const outgoing = onward(incoming);
    outgoing.on('response', (answer) => answer.pipe(response.writeHead(answer.statusCode, answer.headers)));
    outgoing.on('error', () => response.writeHead(502).end());
    incoming.pipe(outgoing);
    return;
  }
  if (name === 'index.html') await buildDemo(built);
  if (!existsSync(join(built, name))) return response.writeHead(404).end();
  response.writeHead(200, { 'content-type': types[name.split('.').pop()], 'content-security-policy': POLICY, 'cache-control': 'no-cache' });
  response.end(readFileSync(join(built, name)));
}

const page = createServer((incoming, response) => {
  handle(incoming, response).catch((error) => {
    console.error(error.message);
    response.writeHead(500).end();
  });
});
page.on('upgrade', (incoming, socket, head) => {
  const outgoing = onward(incoming);
  socket.on('error', () => outgoing.destroy());
  outgoing.on('error', () => socket.destroy());
  outgoing.on('upgrade', (answer, other, first) => {
    const lines = Object.entries(answer.headers).map(([key, value]) => `${key}: ${value}\r\n`);
    socket.write(`HTTP/1.1 101 Switching Protocols\r\n${lines.join('')}\r\n`);
    socket.write(first);
    other.write(head);
    other.on('error', () => socket.destroy());
    socket.on('error', () => other.destroy());
    socket.pipe(other).pipe(socket);
  });
  outgoing.on('response', (answer) => socket.end(`HTTP/1.1 ${answer.statusCode} \r\n\r\n`));
  outgoing.end();
});
page.listen(Number(args.port), '127.0.0.1', () => console.log(`http://127.0.0.1:${page.address().port}`));
