// As much of the Centrifuge protocol (JSON) as the page uses. For looking at the page only.
import { randomUUID } from 'node:crypto';
import { WebSocketServer } from 'ws';

export function serveRealtime(server, world, userOf) {
  const connections = new Set();
  const sockets = new WebSocketServer({ server, path: '/connection/websocket' });

  const channelsOf = (user) => [
    `user:#${user}`,
    ...[...world.member(user).following].filter((a) => world.mode(a) === 'pull').map((a) => `author:${a}`),
  ];
  const send = (connection, message) => connection.socket.send(JSON.stringify(message));

  world.onPublication = (channel, publication) => {
    for (const connection of connections) if (connection.channels.has(channel)) send(connection, { push: { channel, pub: publication } });
  };
  world.onRelation = (user) => {
    for (const connection of connections) {
      if (connection.user !== user) continue;
      const wanted = new Set(channelsOf(user));
      for (const channel of connection.channels)
        if (!wanted.has(channel)) send(connection, { push: { channel, unsubscribe: { code: 2000, reason: 'server unsubscribe' } } });
      for (const channel of wanted) {
        if (connection.channels.has(channel)) continue;
        const { epoch, top } = world.log(channel);
        send(connection, { push: { channel, subscribe: { recoverable: true, positioned: true, epoch, offset: top } } });
      }
      connection.channels = wanted;
    }
  };

  const subscription = (channel, position) => {
    const log = world.log(channel);
    const base = { recoverable: true, positioned: true, epoch: log.epoch, offset: log.top };
    if (!position?.recover) return base;
    const since = position.offset ?? 0;
    const missed = log.events.filter((p) => p.offset > since);
    const recovered = position.epoch === log.epoch && missed.length === log.top - since;
    return recovered
      ? { ...base, offset: since, was_recovering: true, recovered, publications: missed }
      : { ...base, was_recovering: true };
  };

  sockets.on('connection', (socket) => {
    const connection = { socket, user: null, channels: new Set() };
    connections.add(connection);
    const ping = setInterval(() => connection.user && socket.send('{}'), 10_000);
    socket.on('close', () => {
      clearInterval(ping);
      connections.delete(connection);
    });
    socket.on('message', (raw) => {
      for (const line of String(raw).split('\n').filter(Boolean)) {
        const { id, connect, refresh } = JSON.parse(line);
        if (connect) {
          connection.user = userOf(connect.token);
          if (!connection.user) return socket.close(3500, 'invalid token');
          connection.channels = new Set(channelsOf(connection.user));
          const subs = Object.fromEntries([...connection.channels].map((c) => [c, subscription(c, connect.subs?.[c])]));
          send(connection, { id, connect: { client: randomUUID(), version: 'dev', expires: true, ttl: 590, ping: 10, pong: true, subs } });
        } else if (refresh) {
          send(connection, { id, refresh: { client: '', expires: true, ttl: 590 } });
        }
      }
    });
  });
}
