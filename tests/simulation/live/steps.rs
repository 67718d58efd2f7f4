//! The second half of a world: what nodes and clients do.

use super::*;

impl World {
    pub(super) fn message(self: &Arc<Self>, at: usize, message: Option<NodeMessage>) {
        match message {
            Some(NodeMessage::Users { app, data, to, .. }) => {
                for (user, position) in to {
                    let channel = ScopedChannel::new(&app, Channel::user(&user));
                    let (position, payload) = (Some(position), data.clone());
                    self.input(at, Input::Incoming { channel, position, payload });
                }
            }
            Some(NodeMessage::Channel { channel, position, payload }) => {
                self.input(at, Input::Incoming { channel, position, payload });
            }
            _ => {}
        }
    }

    pub(super) fn input(self: &Arc<Self>, at: usize, input: Input<ConnectionId>) {
        let mut out = Vec::new();
        let mut node = lock(&self.nodes[at]);
        node.table.on(input, self.clock.monotonic_ms(), &mut out);
        for action in out {
            self.act(at, &mut node, action);
        }
    }

    pub(super) fn push(&self, sender: &UnboundedSender<Pushed>, client: ConnectionId, pushed: Pushed) {
        let mut state = lock(&self.state);
        if let Some(client) = state.clients.iter_mut().find(|one| one.connection == Some(client)) {
            client.unread += 1;
            let _ = sender.send(pushed);
        }
    }

    pub(super) fn act(self: &Arc<Self>, at: usize, node: &mut Node, action: Action<ConnectionId>) {
        let to_live = |channel: &ScopedChannel, pushed: &dyn Fn() -> Pushed| {
            for (id, (of, live, sender)) in &node.connections {
                if *live && CHANNELS[*of] == channel.channel.as_str() {
                    self.push(sender, *id, pushed());
                }
            }
        };
        match action {
            Action::Reply { subscriber, position, recovered, publications, channel } => {
                self.sim.log(|| {
                    format!(
                        "replies on {}: {recovered:?} at {position:?} {}",
                        channel.channel,
                        publications.len()
                    )
                });
                if let Some((_, live, sender)) = node.connections.get_mut(&subscriber) {
                    *live = true;
                    let position = position.unwrap();
                    self.push(sender, subscriber, Pushed::Reply { position, recovered, publications });
                }
            }
            Action::Deliver { channel, position, payload } => {
                let position = position.unwrap();
                to_live(&channel, &|| Pushed::Publication { position, data: payload.clone() });
            }
            Action::Reset { channel, position, reason } => {
                self.sim.log(|| format!("resets {} to {position:?}: {reason:?}", channel.channel));
                to_live(&channel, &|| Pushed::Reset { position });
            }
            Action::Failed { .. } => self.violate("error: a subscription failed".to_owned()),
            io => self.spawn_io(at, node.id.clone(), io),
        }
    }

    pub(super) fn spawn_io(self: &Arc<Self>, at: usize, id: NodeId, action: Action<ConnectionId>) {
        self.io.fetch_add(1, Ordering::Relaxed);
        let (world, group) = (Arc::clone(self), id.0.to_string());
        let counted = Counted(Arc::clone(self));
        self.sim.spawn(&format!("io-{group}"), Some(&group), async move {
            let input = match action {
                Action::Register { channel, attempt } => {
                    let ok = world.around.register(&id, &channel).await.is_ok();
                    Input::Registered { channel, attempt, ok }
                }
                Action::Read { channel, attempt, since, epoch } => {
                    let read = world.resolver.read(&channel, LIMITS, since, epoch).await.ok();
                    world.sim.log(|| format!("reads {} after {since}: {read:?}", channel.channel));
                    Input::Read { channel, attempt, read }
                }
                Action::Unregister { channel } => {
                    let _ = world.around.unregister(&id, &channel).await;
                    Input::Unregistered { channel }
                }
                _ => return,
            };
            world.input(at, input);
            drop(counted);
        });
    }

    pub(super) fn crash(self: &Arc<Self>, at: usize) {
        let id = lock(&self.nodes[at]).id.clone();
        self.sim.log(|| format!("{} crashes", id.0));
        self.sim.kill(&id.0);
        self.start_node(at);
        let moved: Vec<usize> = {
            let state = lock(&self.state);
            let here = |client: &Client| client.connection.is_some() && client.node == at;
            (0..state.clients.len()).filter(|client| here(&state.clients[*client])).collect()
        };
        for client in moved {
            self.connect(client, 1 - at);
        }
    }

    // ---- clients ----------------------------------------------------------------------------------------------

    pub(super) fn connect(self: &Arc<Self>, client: usize, at: usize) {
        let (sender, receiver) = unbounded_channel();
        let (id, channel, since) = {
            let mut state = lock(&self.state);
            state.connections += 1;
            let id = state.connections;
            let one = &mut state.clients[client];
            (one.connection, one.node, one.live, one.unread) = (Some(id), at, false, 0);
            let since = one.at.map(|at| Since::Position { epoch: Some(at.epoch), offset: at.offset });
            (id, one.channel, since)
        };
        self.sim.log(|| format!("{} connects to {at} with {since:?}", CLIENTS[client]));
        let world = Arc::clone(self);
        self.sim.spawn(&format!("socket-{}", CLIENTS[client]), None, async move {
            world.socket(client, id, receiver).await;
        });
        let (world, group) = (Arc::clone(self), lock(&self.nodes[at]).id.0.to_string());
        let channel_of = scoped(&self.app, channel);
        self.sim.spawn(&format!("accept-{}", CLIENTS[client]), Some(&group), async move {
            lock(&world.nodes[at]).connections.insert(id, (channel, false, sender));
            let input = Input::Subscribe { channel: channel_of, subscriber: id, since, positioned: true };
            world.input(at, input);
        });
    }

    pub(super) fn disconnect(self: &Arc<Self>, client: usize) {
        let (id, at, channel) = {
            let mut state = lock(&self.state);
            let one = &mut state.clients[client];
            let Some(id) = one.connection.take() else { return };
            (one.live, one.unread) = (false, 0);
            (id, one.node, one.channel)
        };
        self.sim.log(|| format!("{} disconnects", CLIENTS[client]));
        let (world, group) = (Arc::clone(self), lock(&self.nodes[at]).id.0.to_string());
        let channel = scoped(&self.app, channel);
        self.sim.spawn(&format!("leave-{}", CLIENTS[client]), Some(&group), async move {
            world.sim.pause().await;
            lock(&world.nodes[at]).connections.remove(&id);
            world.input(at, Input::Unsubscribe { channel, subscriber: id });
        });
    }

    pub(super) async fn socket(
        self: Arc<Self>,
        at: usize,
        id: ConnectionId,
        mut pushed: UnboundedReceiver<Pushed>,
    ) {
        while let Some(pushed) = pushed.recv().await {
            let mut state = lock(&self.state);
            let client = &mut state.clients[at];
            if client.connection != Some(id) {
                return;
            }
            client.unread -= 1;
            let name = CLIENTS[at];
            let violation = match pushed {
                Pushed::Publication { position, data } => client.take(name, position, &data),
                Pushed::Reply { position, recovered: Some(true), publications } => {
                    client.live = true;
                    let take = |(offset, data): &(u64, Bytes)| {
                        client.take(name, Position { offset: *offset, ..position }, data)
                    };
                    let violation = publications.iter().find_map(take);
                    let hole = || format!("hole: {name} recovered at {:?}, not at {position:?}", client.at);
                    violation.or_else(|| (client.at != Some(position)).then(hole))
                }
                Pushed::Reply { position, .. } | Pushed::Reset { position } => {
                    client.live = true;
                    client.at = Some(position);
                    client.reloads += 1;
                    let world = Arc::clone(&self);
                    self.sim.spawn(&format!("reload-{name}"), None, async move {
                        world.sim.sleep(world.sim.below(2_000)).await;
                        let mut state = lock(&world.state);
                        let feed = state.feeds[state.clients[at].channel].clone();
                        state.clients[at].known.extend(feed);
                        state.clients[at].reloads -= 1;
                    });
                    None
                }
            };
            let at = client.at;
            drop(state);
            self.sim.log(|| format!("{name} is at {at:?}"));
            if let Some(violation) = violation {
                self.violate(violation);
            }
        }
    }

    pub(super) async fn script(self: Arc<Self>, actor: &'static str, ops: Vec<Op>, posts: Vec<Post>) {
        let client = CLIENTS.iter().position(|name| *name == actor).unwrap_or(0);
        let mut posts = posts.into_iter();
        for op in ops {
            self.sim.pause().await;
            match op {
                Op::Event(to) => {
                    self.owed.fetch_add(1, Ordering::Relaxed);
                    let _ = self.jobs.send(Job { post: posts.next().unwrap(), to });
                }
                Op::Connect(node) => {
                    self.disconnect(client);
                    self.sim.pause().await;
                    self.connect(client, node);
                }
                Op::Disconnect => self.disconnect(client),
                Op::Sleep(ms) => self.sim.sleep(ms).await,
                Op::Flush => {
                    self.sim.log(|| "logs and registry are lost".to_owned());
                    self.around.log.clear();
                    self.around.registry.clear();
                }
                Op::Freeze(node, ms) => {
                    let id = lock(&self.nodes[node]).id.clone();
                    self.sim.log(|| format!("{} does not run for {ms} ms", id.0));
                    self.sim.freeze(&id.0, ms);
                }
                Op::Crash(node) => self.crash(node),
                Op::Die | Op::Lose => {}
            }
        }
    }

    pub(super) fn at_rest(&self) -> bool {
        if self.owed.load(Ordering::Relaxed) > 0 || self.io.load(Ordering::Relaxed) > 0 {
            return false;
        }
        let state = lock(&self.state);
        state.clients.iter().all(|client| {
            client.reloads == 0 && client.unread == 0 && (client.connection.is_none() || client.live)
        })
    }
}
