// `npm run dev [-- --follows FILE.csv] [--port 5173]`: looks like a Fama demo to the page, to work on the page without
// the real server. Not shipped, not tested against, and no reference for how the server behaves.
import { createServer } from 'node:http';
import { mkdtempSync, readFileSync, existsSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { buildDemo } from '../scripts/build.mjs';
import { serveRealtime } from './realtime.mjs';
import { CELEBRITY_UP, World } from './world.mjs';

const { values: args } = parseArgs({
  options: { follows: { type: 'string' }, port: { type: 'string', default: '5173' }, every: { type: 'string', default: '700' } },
});
const every = Number(args.every);
const world = new World(args.follows);
const built = mkdtempSync(join(tmpdir(), 'fama-dev-'));
const types = {
  html: 'text/html; charset=utf-8',
  js: 'text/javascript; charset=utf-8',
  css: 'text/css; charset=utf-8',
  svg: 'image/svg+xml',
};
const CSP = "default-src 'self'; connect-src 'self' ws: wss:; img-src 'self' data:";
const replays = new Map();
/** Failures asked for with `PUT /dev/fail/<n>`: the next n calls of the API are answered 503. */
let failures = 0;

const userOf = (token) => (token?.startsWith('dev.') && world.members.has(token.slice(4)) ? token.slice(4) : null);
const page = (all, query, json) => {
  const limit = Number(query.get('limit') ?? 20);
  const from = query.get('cursor') ? all.findIndex((x) => x.id === query.get('cursor')) + 1 : 0;
  const data = all.slice(from, from + limit);
  const more = from + limit < all.length;
  return { data: data.map(json), next_cursor: more ? data[data.length - 1].id : null, has_more: more };
};
const fail = (status, error, message) => ({ status, body: { error, message, details: null } });

function demo(method, path, query, body) {
  if (path === '/demo/config')
    return { body: { members: world.members.size, websocket: '/connection/websocket', celebrity_up: CELEBRITY_UP, post_every_ms: every } };
  if (path === '/demo/token')
    return world.members.has(body.user)
      ? { body: { token: `dev.${body.user}`, expires_in: 600 } }
      : fail(404, 'not_found', 'no such member');
  if (path === '/demo/members') {
    const q = (query.get('q') ?? '').toLowerCase();
    const found = [...world.members.values()]
      .filter((m) => `${m.id} ${m.name}`.toLowerCase().includes(q))
      .sort((a, b) => b.followers.size - a.followers.size);
    return {
      body: page(found, query, (m) => ({
        id: m.id,
        name: m.name,
        followers: m.followers.size,
        following: m.following.size,
        delivery: world.mode(m.id),
      })),
    };
  }
  return null;
}

function api(user, method, parts, query, body, key) {
  const [kind, id, sub, reaction] = parts;
  const mutual = { following: 'follow', mutes: 'mute', blocks: 'block' };
  if (kind === 'feed') return { body: page(world.feed(user), query, (p) => world.json(p, user)) };
  if (kind === 'following' && !id)
    return {
      body: page(
        [...world.member(user).following].map((x) => ({ id: x })),
        query,
        (x) => ({ user: x.id, since: new Date().toISOString() }),
      ),
    };
  if (mutual[kind] && id) {
    world.relation(user, mutual[kind], id, method === 'PUT');
    return { status: 204 };
  }
  if (kind === 'users' && world.members.has(id)) {
    if (sub === 'posts')
      return {
        body: page(
          world.posts.filter((p) => p.author === id),
          query,
          (p) => world.json(p, user),
        ),
      };
    return { body: world.user(id, user) };
  }
  if (kind === 'posts' && method === 'POST') {
    const post = replays.get(key) ?? world.post(user, body.text);
    replays.set(key, post);
    return { status: 201, body: world.json(post, user) };
  }
  const post = kind === 'posts' ? world.byId.get(id) : undefined;
  if (!post) return fail(404, 'not_found', 'no such thing');
  if (sub === 'reactions' && reaction) post.likes[method === 'PUT' ? 'add' : 'delete'](user);
  else if (method === 'DELETE') world.remove(post);
  return { status: 204 };
}

async function handle(request, response) {
  const url = new URL(request.url, 'http://localhost');
  const chunks = [];
  for await (const chunk of request) chunks.push(chunk);
  const body = chunks.length ? JSON.parse(Buffer.concat(chunks).toString()) : {};
  const name = url.pathname === '/' ? 'index.html' : url.pathname.slice(1);
  if (name === 'index.html') await buildDemo(built);
  const file = join(built, name);
  if (/^[a-z.]+$/.test(name) && existsSync(file)) {
    response.writeHead(200, { 'content-type': types[name.split('.').pop()], 'content-security-policy': CSP, 'cache-control': 'no-cache' });
    return response.end(readFileSync(file));
  }
  let answer = demo(request.method, url.pathname, url.searchParams, body);
  const parts = url.pathname.split('/').slice(2).map(decodeURIComponent);
  if (url.pathname.startsWith('/dev/fail/')) {
    failures = Number(parts[1]);
    answer = { status: 204 };
  }
  if (!answer && url.pathname.startsWith('/v1/')) {
    const user = userOf(request.headers.authorization?.slice(7));
    if (failures > 0) {
      failures -= 1;
      answer = fail(503, 'unavailable', 'the store is not answering');
    } else {
      answer = user
        ? api(user, request.method, parts, url.searchParams, body, request.headers['idempotency-key'])
        : fail(401, 'unauthorized', 'a token is needed');
    }
  }
  answer ??= fail(404, 'not_found', 'no such route');
  response.writeHead(answer.status ?? 200, { 'content-type': 'application/json' });
  response.end(answer.body === undefined ? undefined : JSON.stringify(answer.body));
}

const server = createServer((request, response) => {
  handle(request, response).catch((error) => {
    console.error(error);
    response.writeHead(500).end();
  });
});
serveRealtime(server, world, userOf);
if (every > 0)
  setInterval(() => world.post([...world.members.keys()][Math.floor(Math.random() * world.members.size)], world.saying()), every);
server.listen(Number(args.port), '127.0.0.1', () => console.log(`http://127.0.0.1:${server.address().port}`));
