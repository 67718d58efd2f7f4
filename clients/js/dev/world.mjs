// A small world in memory, only to look at the page while working on it: members, follows, posts, feeds. It has none
// of the server's guarantees, and no test uses it.
import { readFileSync } from 'node:fs';

export const CELEBRITY_UP = 150;
const KEPT_POSTS = 5_000;
const KEPT_EVENTS = 300;

const SUBJECTS = [
  'the appropriations bill',
  'rural broadband',
  'the harbour bridge',
  'veterans’ care',
  'school lunches',
  'the water act',
  'small firms',
  'the night train',
  'county fairs',
  'open data',
];
const SAYINGS = [
  (s) => `Glad to see ${s} move forward today. More to do, and we will do it together.`,
  (s) => `Town hall tonight at seven. Bring your questions about ${s}.`,
  (s) => `I have read all 412 pages on ${s}, so that you don’t have to. A short thread follows.`,
  (s) => `${s[0].toUpperCase()}${s.slice(1)}. That’s the post.`,
  (s) =>
    `Thank you to everyone who wrote to my office about ${s}. We answer every letter.\n\nSome of you asked for dates: the hearing is on the 14th, and the vote follows a week later.`,
  (s) => `Proud of the team that worked on ${s} through the night.`,
];

const pick = (list) => list[Math.floor(Math.random() * list.length)];

/** Edges from a file of `follower,followee` lines, or made up: few are followed by many. */
function edges(file) {
  if (file) {
    return readFileSync(file, 'utf8')
      .trim()
      .split('\n')
      .slice(1)
      .map((line) => line.trim().split(','));
  }
  const names = [
    'Avery',
    'Blake',
    'Casey',
    'Drew',
    'Ellis',
    'Frankie',
    'Gray',
    'Harper',
    'Indigo',
    'Jules',
    'Kai',
    'Lane',
    'Morgan',
    'Noor',
    'Oakley',
  ];
  const ids = Array.from(
    { length: 300 },
    (_, i) => `${i % 4 === 0 ? 'Sen' : 'Rep'}${names[i % names.length]}${String.fromCharCode(65 + (i % 26))}${i}`,
  );
  return ids.flatMap((a, i) =>
    ids.filter((b, j) => a !== b && Math.random() < 0.55 / (1 + j / 12) + (Math.abs(i - j) < 4 ? 0.3 : 0)).map((b) => [a, b]),
  );
}

export class World {
  members = new Map();
  posts = [];
  byId = new Map();
  logs = new Map();
  /** Set by the realtime part. */
  onPublication = () => {};
  onRelation = () => {};
  #lastId = 0n;

  constructor(file) {
    for (const [a, b] of edges(file)) {
      this.member(a).following.add(b);
      this.member(b).followers.add(a);
    }
    const start = Date.now() - 3_600_000;
    for (let i = 0; i < 900; i += 1) this.post(pick([...this.members.keys()]), this.saying(), start + i * 4_000, true);
  }

  saying() {
    return pick(SAYINGS)(pick(SUBJECTS));
  }

  member(id) {
    let member = this.members.get(id);
    if (!member) {
      const name = id.replace(/([a-z])([A-Z])/g, '$1 $2').replaceAll('_', ' ');
      member = { id, name, followers: new Set(), following: new Set(), muted: new Set(), blocked: new Set(), posts: 0 };
      this.members.set(id, member);
    }
    return member;
  }

  mode(id) {
    return this.member(id).followers.size >= CELEBRITY_UP ? 'pull' : 'push';
  }

  post(author, text, at = Date.now(), silent = false) {
    const minted = (BigInt(at) - 1_767_225_600_000n) << 22n;
    this.#lastId = minted > this.#lastId ? minted : this.#lastId + 1n;
    const time = new Date(at).toISOString();
    const post = {
      id: String(this.#lastId),
      author,
      kind: 'post',
      text,
      data: null,
      reply_to: null,
      repost_of: null,
      mentions: [],
      visibility: 'public',
      attachments: [],
      created_at: time,
      updated_at: time,
      rev: 1,
      delivery: this.mode(author),
      likes: new Set(),
    };
    if (silent) for (let i = 0; i < Math.random() * 5; i += 1) post.likes.add(pick([...this.members.keys()]));
    this.posts.unshift(post);
    this.byId.set(post.id, post);
    this.member(author).posts += 1;
    for (const old of this.posts.splice(KEPT_POSTS)) this.byId.delete(old.id);
    if (!silent) this.#deliver(post, { type: 'post.created', post: this.json(post) });
    return post;
  }

  remove(post) {
    this.posts.splice(this.posts.indexOf(post), 1);
    this.byId.delete(post.id);
    this.#deliver(post, { type: 'post.deleted', id: post.id, author: post.author });
  }

  json(post, viewer) {
    const { likes, ...rest } = post;
    return {
      ...rest,
      reactions: likes.size ? { like: likes.size } : {},
      ...(viewer && { viewer: { reactions: likes.has(viewer) ? ['like'] : [] } }),
    };
  }

  user(id, viewer) {
    const m = this.members.get(id);
    const v = this.member(viewer);
    return {
      id,
      name: m.name,
      avatar_url: null,
      data: null,
      followers: m.followers.size,
      following: m.following.size,
      posts: m.posts,
      delivery: this.mode(id),
      viewer: { following: v.following.has(id), followed_by: m.following.has(viewer), blocked: v.blocked.has(id), muted: v.muted.has(id) },
    };
  }

  feed(viewer) {
    const v = this.member(viewer);
    return this.posts.filter(
      (p) => p.author === viewer || (v.following.has(p.author) && !v.muted.has(p.author) && !v.blocked.has(p.author)),
    );
  }

  relation(viewer, kind, other, active) {
    const v = this.member(viewer);
    const set = { follow: v.following, mute: v.muted, block: v.blocked }[kind];
    if (active) set.add(other);
    else set.delete(other);
    if (kind === 'follow') this.member(other).followers[active ? 'add' : 'delete'](viewer);
    if (kind === 'block' && active) v.following.delete(other);
    this.publish(`user:#${viewer}`, { type: 'relation.changed', kind, user: other, active });
    this.onRelation(viewer);
  }

  #deliver(post, event) {
    if (post.delivery === 'pull') this.publish(`author:${post.author}`, event);
    else
      for (const follower of this.member(post.author).followers)
        if (!this.member(follower).muted.has(post.author)) this.publish(`user:#${follower}`, event);
    this.publish(`user:#${post.author}`, event);
  }

  log(channel) {
    let log = this.logs.get(channel);
    if (!log) this.logs.set(channel, (log = { epoch: Math.random().toString(36).slice(2, 10), top: 0, events: [] }));
    return log;
  }

  publish(channel, data) {
    const log = this.log(channel);
    const publication = { data, offset: ++log.top };
    log.events.push(publication);
    log.events.splice(0, log.events.length - KEPT_EVENTS);
    this.onPublication(channel, publication);
  }
}
