//! Who is in a channel: being there, and asking.

use bytes::Bytes;
use fama_presence::{Member, MemberCounts};
use fama_protocol::Channel;
use fama_protocol::centrifuge::reply::ClientInfo;
use fama_protocol::centrifuge::{ErrorCode, reply};

use super::work::Busy;
use super::{Action, Connection, Context, Flow, Slot, client_name};
use crate::gateway::namespaces::Rules;

/// What a connection shows of itself besides its user: JSON from tokens. Most have none.
#[derive(Debug, Default)]
pub(super) struct Infos {
    /// From the connection's token.
    pub(super) connection: Option<Bytes>,
    /// From subscription tokens, by channel.
    pub(super) channels: Vec<(Slot, Bytes)>,
}

/// What is wanted of a channel's members.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MembersAsked {
    /// Who.
    List,
    /// How many.
    Count,
}

/// What was found out about a channel's members.
#[derive(Debug)]
pub enum MembersRead {
    /// Who.
    List(Vec<Member>),
    /// How many.
    Count(MemberCounts),
    /// Neither.
    Failed(ErrorCode),
}

impl Connection {
    /// JSON of whose connection it is, as others are shown in a channel.
    pub(super) fn info_json(&self, slot: Option<Slot>, cx: &Context<'_>) -> Bytes {
        let infos = self.infos.as_deref();
        let of_channel = infos.and_then(|infos| infos.channels.iter().find(|(it, _)| Some(*it) == slot));
        let info = ClientInfo {
            user: self.user().map(fama_protocol::UserId::as_str).unwrap_or_default(),
            client: &client_name(cx.client),
            conn_info: infos.and_then(|infos| infos.connection.as_deref()),
            chan_info: of_channel.map(|(_, info)| &**info),
        };
        let mut out = Vec::with_capacity(96);
        info.write(&mut out);
        out.into()
    }

    /// Keeps what a subscription token says of the user.
    pub(super) fn set_channel_info(&mut self, slot: Slot, info: Option<Bytes>) {
        if let Some(infos) = &mut self.infos {
            infos.channels.retain(|(it, _)| *it != slot);
        }
        if let Some(info) = info {
            self.infos.get_or_insert_default().channels.push((slot, info));
        }
    }

    /// It is in a channel from now on, if the namespace keeps that.
    pub(super) fn appear(&mut self, slot: Slot, channel: &Channel, cx: &mut Context<'_>) {
        if cx.config.namespaces.of(channel).is_some_and(Rules::keeps_members) {
            let info = self.info_json(Some(slot), cx);
            if let Some(sub) = self.sub_mut(slot) {
                sub.present = true;
                cx.actions.push(Action::Appear { slot, info });
            }
        }
    }

    /// Where it is present, and as whom, to be said again.
    pub fn appearances(&self, cx: &mut Context<'_>) -> Vec<(Slot, Bytes)> {
        let present = self.subs.iter().filter(|sub| sub.present);
        present.map(|sub| (sub.slot, self.info_json(Some(sub.slot), cx))).collect()
    }

    pub(super) fn members(
        &mut self,
        id: u32,
        channel: &str,
        asked: MembersAsked,
        cx: &mut Context<'_>,
    ) -> Flow {
        let channel = match self.app_channel(id, channel, cx) {
            Ok(channel) => channel,
            Err(flow) => return flow,
        };
        let Some(subscribed) = self.is_subscribed(&channel, cx) else { return Flow::Wait };
        let Some(namespace) = cx.config.namespaces.of(&channel) else { return Flow::Done };
        if !namespace.lists_members() {
            return self.fail(id, ErrorCode::NOT_AVAILABLE, cx);
        }
        if !cx.config.insecure && !namespace.may_list(subscribed) {
            return self.fail(id, ErrorCode::PERMISSION_DENIED, cx);
        }
        self.work().busy = Some(Busy::Members { id });
        cx.actions.push(Action::Members { channel, asked });
        Flow::Done
    }

    /// The members of a channel were found out.
    pub fn on_members(&mut self, read: MembersRead, cx: &mut Context<'_>) {
        if let Some(work) = &mut self.work
            && let Some(Busy::Members { id }) = work.busy
        {
            work.busy = None;
            match read {
                MembersRead::List(members) => {
                    let members = members.iter().map(|member| (client_name(member.client), &*member.info));
                    reply::presence(cx.out.message(), id, members);
                }
                MembersRead::Count(counts) => {
                    let (clients, users) = (counts.clients as u64, counts.users as u64);
                    reply::presence_stats(cx.out.message(), id, clients, users);
                }
                MembersRead::Failed(error) => {
                    let _ = self.fail(id, error, cx);
                }
            }
        }
        self.resume(cx);
    }
}
