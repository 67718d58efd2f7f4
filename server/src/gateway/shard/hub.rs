//! The channels that this shard owns.

use fama_protocol::{ChannelKind, ScopedChannel};

use super::Shard;
use crate::gateway::inbox::{Mail, TableAction, TableInput};
use crate::gateway::work::Job;

/// Channels whose logs are kept alive in one call.
const TOUCH: usize = 500;

impl Shard {
    /// Something happened to a channel that this shard owns.
    pub(super) fn on_table(&mut self, input: TableInput) {
        let mut actions = std::mem::take(&mut self.table_actions);
        self.table.on(input, self.now_ms, &mut actions);
        for action in actions.drain(..) {
            match action {
                TableAction::Register { channel, attempt } => self.jobs.push(Job::Register(channel, attempt)),
                TableAction::Read { channel, attempt, since, epoch } => {
                    self.jobs.push(Job::Read { channel, attempt, since, epoch });
                }
                TableAction::Unregister { channel } => self.jobs.push(Job::Unregister(channel)),
                TableAction::Reply { subscriber, .. } | TableAction::Failed { subscriber, .. } => {
                    self.post(subscriber.shard(), Mail::Member(action));
                }
                TableAction::Deliver { .. } | TableAction::Reset { .. } => {
                    self.post_to_members(action);
                }
            }
        }
        self.table_actions = actions;
    }

    /// To the shards with members of the channel. Replies went out before, in the same order.
    fn post_to_members(&mut self, action: TableAction) {
        let (TableAction::Deliver { channel, .. } | TableAction::Reset { channel, .. }) = &action else {
            return;
        };
        let mut shards = [false; 256];
        match self.table.few_members(channel) {
            Some(few) => few.iter().for_each(|key| shards[key.shard()] = true),
            None => shards.fill(true),
        }
        let wanted = shards.iter().take(self.shared.inboxes.len()).filter(|wanted| **wanted).count();
        let mut action = Some(action);
        let mut left = wanted;
        for (shard, _) in shards.iter().enumerate().filter(|(_, wanted)| **wanted).take(wanted) {
            left -= 1;
            let copy = if left == 0 { action.take() } else { action.clone() };
            if let Some(copy) = copy {
                self.post(shard, Mail::Member(copy));
            }
        }
    }

    /// Messages from the bus were lost.
    pub(super) fn doubt(&mut self) {
        self.on_table(TableInput::Doubt { registrations: false });
    }

    pub(super) fn run_table_timers(&mut self) {
        if self.table.next_due().is_some_and(|due| due <= self.now_ms) {
            self.on_table(TableInput::Tick);
        }
        if self.now_ms < self.next_touch_ms || self.table.is_empty() {
            return;
        }
        // Each channel's turn comes once in the time set, a few at a time.
        let rounds = (self.config.touch_ms / 100).max(1);
        let share = u64::try_from(self.table.len()).unwrap_or(u64::MAX).div_ceil(rounds);
        let limit = usize::try_from(share).unwrap_or(TOUCH).clamp(1, TOUCH);
        self.next_touch_ms = self.now_ms + self.config.touch_ms / rounds;
        let channels = self.table.channels_to_touch(limit);
        if !channels.is_empty() {
            self.jobs.push(Job::Touch(channels));
        }
    }
}

/// Whether a channel is the app's own.
pub(super) fn is_app(channel: &ScopedChannel) -> bool {
    matches!(channel.channel.kind(), ChannelKind::App { .. })
}
