//! Watching users: `presence:` channels.

use fama_presence::{Seen, Update};
use fama_protocol::centrifuge::push::{self, Publication};
use fama_protocol::centrifuge::{ErrorCode, SubscribeResult, UnsubscribeCode, reply};
use fama_protocol::{Channel, ChannelKind, UserId};

use super::work::{PendingSub, Purpose};
use super::{Action, Connection, Context, Flow, Slot, Sub};
use crate::presence::{WatchRefusal, members_of};

/// The channel, if it watches a user.
pub(super) fn watchable(name: &str) -> Option<Channel> {
    Channel::new(name).ok().filter(|channel| matches!(channel.kind(), ChannelKind::Presence(_)))
}

impl Connection {
    /// Begins to watch. There is nothing to recover: the first reply says how the user is.
    pub(super) fn watch(&mut self, id: u32, channel: Channel, cx: &mut Context<'_>) -> Flow {
        if self.user().is_none() && !cx.config.insecure {
            return self.fail(id, ErrorCode::PERMISSION_DENIED, cx);
        }
        if self.subs.iter().filter(|sub| sub.watch).count() >= cx.config.limits.watches {
            return self.fail(id, ErrorCode::LIMIT_EXCEEDED, cx);
        }
        let slot = cx.names.intern(&self.scoped(channel));
        self.subs.push(Sub { watch: true, ..Sub::new(slot) });
        let purpose = Purpose::Command { id, strict: false };
        self.work().pending.push(PendingSub { slot, purpose, offset: 0 });
        cx.actions.push(Action::Watch { slot });
        Flow::Done
    }

    /// A user is watched from now on, or not.
    pub fn on_watched(&mut self, user: &UserId, result: Result<Seen, WatchRefusal>, cx: &mut Context<'_>) {
        let slot = cx.names.find(&self.scoped(Channel::presence(user)));
        let pending = self.work.as_mut().and_then(|work| {
            work.pending.iter().position(|it| Some(it.slot) == slot).map(|at| work.pending.swap_remove(at))
        });
        let Some(PendingSub { slot, purpose: Purpose::Command { id, .. }, .. }) = pending else { return };
        match result {
            Ok(seen) => {
                if let Some(sub) = self.sub_mut(slot) {
                    sub.live = true;
                }
                let publications = vec![(0, members_of(user, seen))];
                let result = SubscribeResult { publications, ..SubscribeResult::default() };
                reply::subscribe(cx.out.message(), id, &result);
            }
            Err(refusal) => {
                self.drop_sub(slot, cx);
                let error = match refusal {
                    WatchRefusal::Denied => ErrorCode::PERMISSION_DENIED,
                    WatchRefusal::Unavailable => ErrorCode::INTERNAL,
                };
                let _ = self.fail(id, error, cx);
            }
        }
        self.resume(cx);
    }

    /// Users whom it watches look different now, or may not be watched any more: all goes out in one message.
    pub fn on_updates(&mut self, updates: &[(UserId, Update)], cx: &mut Context<'_>) {
        for (user, update) in updates {
            let channel = Channel::presence(user);
            let slot: Option<Slot> = cx.names.find(&self.scoped(channel.clone()));
            let Some(sub) = self.sub(slot).filter(|sub| sub.live) else { continue };
            match update {
                Update::Seen(seen) => {
                    let members = members_of(user, *seen);
                    let publication = Publication { members: &members, offset: 0, epoch: None };
                    push::published(cx.out.message(), channel.as_str(), &publication);
                }
                Update::Ended => self.end_sub(sub.slot, UnsubscribeCode::SERVER, cx),
            }
        }
        self.tidy();
    }
}
