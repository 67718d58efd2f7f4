//! A further part of a world: what its nodes do.

use super::*;

impl World {
    pub(super) async fn fan(&self, delivery: &Delivery, job: &Job) {
        let post = &job.post;
        for at in &job.to {
            self.sim.pause().await;
            lock(&self.state).feeds[*at].insert(post.id);
        }
        let event = LiveEvent {
            event_id: format!("p/{}", post.id),
            actor: post.author.clone(),
            reference: EventRef::PostCreated { post: post.id },
            data: view::created(post),
        };
        if job.to == [2] {
            delivery.to_author_channel(&self.app, &post.author, &event).await.unwrap();
        } else {
            let users: Vec<_> = job.to.iter().map(|at| UserId::new(["a", "b"][*at]).unwrap()).collect();
            delivery.to_users(&self.app, &event, &users).await.unwrap();
        }
        self.sim.log(|| format!("job of {} done", post.id));
        self.owed.fetch_sub(1, Ordering::Relaxed);
    }

    // ---- nodes ------------------------------------------------------------------------------------------------

    pub(super) fn start_node(self: &Arc<Self>, at: usize) {
        let group = {
            let mut state = lock(&self.state);
            state.incarnations += 1;
            let mut node = lock(&self.nodes[at]);
            let id = format!("{}.{}", node.name, state.incarnations);
            self.around.bus.close(&node.id);
            node.id = NodeId(id.as_str().into());
            (node.table, node.receiver) = (table(self.mutant), receiver(self.mutant));
            node.connections.clear();
            id
        };
        self.around.bus.attach(&NodeId(group.as_str().into()));
        let (world, id) = (Arc::clone(self), NodeId(group.as_str().into()));
        self.sim.spawn(&format!("rx-{group}"), Some(&group), async move {
            while let Some(event) = world.around.receive(&id).await {
                let heard = lock(&world.nodes[at]).receiver.on(event, world.clock.monotonic_ms());
                if heard.doubt {
                    world.sim.log(|| "misses a number".to_owned());
                    world.input(at, Input::Doubt { registrations: false });
                }
                world.message(at, heard.message);
            }
        });
        let world = Arc::clone(self);
        self.sim.spawn(&format!("tick-{group}"), Some(&group), async move {
            loop {
                world.sim.sleep(TICK_MS).await;
                if lock(&world.nodes[at]).receiver.tick(world.clock.monotonic_ms()) {
                    world.sim.log(|| "a sender went quiet".to_owned());
                    world.input(at, Input::Doubt { registrations: false });
                }
                world.input(at, Input::Tick);
            }
        });
        let (world, id) = (Arc::clone(self), NodeId(group.as_str().into()));
        self.sim.spawn(&format!("lease-{group}"), Some(&group), async move { world.maintain(at, &id).await });
    }

    pub(super) async fn maintain(self: Arc<Self>, at: usize, id: &NodeId) {
        loop {
            // The first time as well: a subscription may have been quicker than the lease.
            let kept = self.around.renew(id, LEASE_MS, self.clock.monotonic_ms()).await.unwrap();
            if !kept {
                self.sim.log(|| "has a lease anew".to_owned());
                self.input(at, Input::Doubt { registrations: true });
            }
            let channels = lock(&self.nodes[at]).table.channels_to_touch(100);
            let tops = self.around.touch(&channels, self.clock.monotonic_ms()).await.unwrap();
            for (channel, top) in channels.into_iter().zip(tops) {
                if !self.strict {
                    self.input(at, Input::Touched { channel, top });
                }
            }
            self.sim.sleep(RENEW_MS).await;
        }
    }
}
