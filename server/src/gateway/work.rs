//! What shards have done for them on the work runtime: tokens, relations, the registry, logs, publishing.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use fama_fanout::live::log::LogLimits;
use fama_fanout::live::{ChannelRead, Publication, Viewer};
use fama_presence::{Member, UserKey};
use fama_protocol::centrifuge::ErrorCode;
use fama_protocol::{AppId, ChannelKind, Epoch, ScopedChannel, UserId};
use futures_util::{FutureExt, StreamExt, stream};
use metrics::counter;
use tokio::runtime::Handle;

use super::config::{GatewayConfig, times};
use super::connection::{HistoryAsked, HistoryRead, MembersAsked, MembersRead, app_members};
use super::history;
use super::inbox::{Answer, ConnKey, Inbox, Mail, TableInput, event_members};
use super::ports::{Ports, TokenRefusal};
use super::shard::Shared;
use crate::presence::WatchRefusal;

/// Jobs of one turn of a shard that are under way at once.
const AT_ONCE: usize = 256;

/// Jobs under way on all shards. What clients ask for beyond it is answered as failed at once; they ask again.
const UNDER_WAY: usize = 16_384;

/// Something to be done for a shard. Each is answered by one letter, except [`Job::Touch`].
#[derive(Debug)]
pub enum Job {
    /// Check a token.
    Authenticate(ConnKey, String),
    /// Check a subscription token.
    Grant(ConnKey, String),
    /// Load what matters of a user's relations.
    Enter(ConnKey, AppId, UserId),
    /// Publish: data and info, both JSON.
    Publish(ConnKey, ScopedChannel, Publication),
    /// Read a history.
    History(ConnKey, ScopedChannel, HistoryAsked),
    /// Find out who is in a channel.
    Members(ConnKey, ScopedChannel, MembersAsked),
    /// Find out how a user is whom the connection began to watch, and whether it may: the user, and who it is.
    Watch(ConnKey, UserKey, Option<UserId>),
    /// Write to the registry.
    Register(ScopedChannel, u32),
    /// Open and read a log.
    Read { channel: ScopedChannel, attempt: u32, since: u64, epoch: Option<Epoch> },
    /// Take out of the registry.
    Unregister(ScopedChannel),
    /// Keep logs, and compare their tops.
    Touch(Vec<ScopedChannel>),
}

impl Job {
    /// Whether a client asked for it, and asks again; the rest keeps what is promised already.
    fn is_asked(&self) -> bool {
        matches!(
            self,
            Self::Authenticate(..)
                | Self::Grant(..)
                | Self::Enter(..)
                | Self::Publish(..)
                | Self::History(..)
                | Self::Watch(..)
        )
    }
}

/// Counts jobs under way, as long as they are.
struct UnderWay(Arc<AtomicUsize>, usize);

impl UnderWay {
    fn new(count: &Arc<AtomicUsize>, jobs: usize) -> Self {
        count.fetch_add(jobs, Ordering::Relaxed);
        Self(Arc::clone(count), jobs)
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.0.fetch_sub(self.1, Ordering::Relaxed);
    }
}

/// Does jobs.
pub struct Worker {
    ports: Ports,
    shared: Arc<Shared>,
    config: Arc<GatewayConfig>,
    handle: Handle,
    under_way: Arc<AtomicUsize>,
}

impl Worker {
    /// On this runtime.
    pub fn new(ports: Ports, shared: Arc<Shared>, handle: Handle) -> Self {
        Self { ports, config: Arc::clone(&shared.config), shared, handle, under_way: Arc::default() }
    }

    /// Does the jobs of one turn; answers go to `inbox`.
    pub fn start(self: &Arc<Self>, mut jobs: Vec<Job>, inbox: &Arc<Inbox>) {
        if self.under_way.load(Ordering::Relaxed) > UNDER_WAY {
            let asked = jobs.extract_if(.., |job| job.is_asked());
            let mut refused: Vec<Mail> = asked.filter_map(|job| failure(&job)).collect();
            counter!("fama_gateway_jobs_refused_total").increment(refused.len() as u64);
            inbox.send_all(&mut refused);
        }
        let begun = UnderWay::new(&self.under_way, jobs.len());
        let (worker, inbox) = (Arc::clone(self), Arc::clone(inbox));
        self.handle.spawn(async move {
            let _begun = begun;
            let (worker, inbox) = (&worker, &inbox);
            stream::iter(jobs)
                .for_each_concurrent(AT_ONCE, |job| async move {
                    let failed = failure(&job);
                    let limit = Duration::from_millis(times::STEP_MS);
                    let work = tokio::time::timeout(limit, worker.run(job, inbox));
                    match AssertUnwindSafe(work).catch_unwind().await {
                        Ok(Ok(letter)) => letter.into_iter().for_each(|letter| inbox.send(letter)),
                        _ => failed.into_iter().for_each(|letter| inbox.send(letter)),
                    }
                })
                .await;
        });
    }

    async fn run(&self, job: Job, inbox: &Inbox) -> Option<Mail> {
        let ports = &self.ports;
        Some(match job {
            Job::Authenticate(key, token) => {
                let mut principal = ports.authenticator.authenticate(&token).await;
                if let Ok(principal) = &mut principal {
                    principal.app = self.shared.share(principal.app.clone());
                }
                Mail::Answer(key, Answer::Authenticated(principal))
            }
            Job::Grant(key, token) => {
                Mail::Answer(key, Answer::Granted(ports.authenticator.subscription(&token).await))
            }
            Job::Enter(key, app, user) => {
                let entered = ports.viewers.enter(&app, &user).await.ok();
                let entered = entered.map(|(hold, viewer)| (hold, authors_of(&viewer)));
                Mail::Answer(key, Answer::Entered(entered))
            }
            Job::Publish(key, channel, publication) => {
                let limits = self.limits(&channel);
                let published = ports.delivery.publish(&channel, publication.encode(), limits, None).await;
                Mail::Answer(key, Answer::Published(published.is_ok()))
            }
            Job::History(key, channel, asked) => {
                Mail::Answer(key, Answer::History(self.history(&channel, &asked).await))
            }
            Job::Members(key, channel, asked) => {
                Mail::Answer(key, Answer::Members(self.members(&channel, asked).await))
            }
            Job::Watch(key, user, viewer) => {
                let answer = |watched| Mail::Answer(key, Answer::Watched(user.1.clone(), watched));
                let admitted = |seen| inbox.send(answer(Ok(seen)));
                let watched = ports.presence.watch(&user, key, viewer.as_ref(), admitted).await;
                answer(Err(watched.err()?))
            }
            Job::Register(channel, attempt) => {
                let ok = ports.registry.register(&ports.node, &channel).await.is_ok();
                Mail::Table(TableInput::Registered { channel, attempt, ok })
            }
            Job::Unregister(channel) => {
                // Left behind it only costs messages that nobody here wants, until the next one is registered.
                if let Err(error) = ports.registry.unregister(&ports.node, &channel).await {
                    tracing::debug!(%error, %channel, "not taken out of the registry");
                }
                Mail::Table(TableInput::Unregistered { channel })
            }
            Job::Read { channel, attempt, since, epoch } => {
                let read = self.read(&channel, since, epoch).await;
                Mail::Table(TableInput::Read { channel, attempt, read })
            }
            Job::Touch(channels) => {
                self.touch(channels, inbox).await;
                return None;
            }
        })
    }

    /// How a channel's log is kept.
    fn limits(&self, channel: &ScopedChannel) -> Option<LogLimits> {
        match channel.channel.kind() {
            ChannelKind::App { .. } => self.config.namespaces.of(&channel.channel)?.limits(),
            ChannelKind::User(_) => Some(self.config.user_log),
            ChannelKind::Author(_) | ChannelKind::Presence(_) => Some(self.config.author_log),
        }
    }

    async fn read(&self, channel: &ScopedChannel, since: u64, epoch: Option<Epoch>) -> Option<ChannelRead> {
        let limits = self.limits(channel)?;
        match self.ports.resolver.read(channel, limits, since, epoch).await {
            Ok(read) => Some(ChannelRead { top: read.top, entries: wire_form(channel, &read.entries) }),
            Err(error) => {
                tracing::debug!(%error, %channel, "a log is not read, again soon");
                None
            }
        }
    }

    async fn history(&self, channel: &ScopedChannel, asked: &HistoryAsked) -> HistoryRead {
        let Some(limits) = self.limits(channel) else { return Err(ErrorCode::NOT_AVAILABLE) };
        let (log, clock) = (&*self.ports.log, &*self.ports.clock);
        let (top, entries) = history::read(log, clock, limits, channel, asked).await?;
        Ok((top, wire_form(channel, &entries)))
    }

    /// A list that is too long to be sent is refused, as one of too many members is.
    async fn members(&self, channel: &ScopedChannel, asked: MembersAsked) -> MembersRead {
        let presence = &self.ports.presence;
        let read = match asked {
            MembersAsked::List => presence.members(channel).await.map(|members| match members {
                Some(members) if fits(&members, self.config.limits.queue_bytes) => MembersRead::List(members),
                _ => MembersRead::Failed(ErrorCode::LIMIT_EXCEEDED),
            }),
            MembersAsked::Count => presence.count_members(channel).await.map(MembersRead::Count),
        };
        read.unwrap_or_else(|error| {
            tracing::debug!(%error, %channel, "who is in a channel is not known");
            MembersRead::Failed(ErrorCode::INTERNAL)
        })
    }

    async fn touch(&self, channels: Vec<ScopedChannel>, inbox: &Inbox) {
        let now_ms = self.ports.clock.monotonic_ms();
        match self.ports.log.touch(&channels, now_ms).await {
            Ok(tops) => {
                let pairs = channels.into_iter().zip(tops);
                let mut letters =
                    pairs.map(|(channel, top)| Mail::Table(TableInput::Touched { channel, top })).collect();
                inbox.send_all(&mut letters);
            }
            Err(error) => tracing::debug!(%error, "logs are not kept, again soon"),
        }
    }
}

/// Whether a list of members leaves room for as much again in the queue of a socket.
fn fits(members: &[Member], queue_bytes: usize) -> bool {
    members.iter().map(|member| member.info.len() + 48).sum::<usize>() <= queue_bytes / 2
}

/// The celebrities whose channels a user is subscribed to.
pub fn authors_of(viewer: &Viewer) -> Vec<UserId> {
    viewer.celebrities.iter().filter(|author| !viewer.hides(author)).cloned().collect()
}

/// A payload from the bus as members of a publication.
pub fn app_payload(payload: &Bytes) -> Bytes {
    match Publication::decode(payload.clone()) {
        Some(publication) => app_members(&publication.data, publication.info.as_deref()),
        None => app_members(b"null", None),
    }
}

/// Entries of a log as members of publications.
fn wire_form(channel: &ScopedChannel, entries: &[(u64, Bytes)]) -> Vec<(u64, Bytes)> {
    let is_app = matches!(channel.channel.kind(), ChannelKind::App { .. });
    let form = |bytes: &Bytes| if is_app { app_payload(bytes) } else { event_members(bytes) };
    entries.iter().map(|(offset, bytes)| (*offset, form(bytes))).collect()
}

/// The answer if a job fails or takes too long.
fn failure(job: &Job) -> Option<Mail> {
    Some(match job {
        Job::Authenticate(key, _) => {
            Mail::Answer(*key, Answer::Authenticated(Err(TokenRefusal::Unavailable)))
        }
        Job::Grant(key, _) => Mail::Answer(*key, Answer::Granted(Err(TokenRefusal::Unavailable))),
        Job::Enter(key, ..) => Mail::Answer(*key, Answer::Entered(None)),
        Job::Publish(key, ..) => Mail::Answer(*key, Answer::Published(false)),
        Job::Members(key, ..) => {
            Mail::Answer(*key, Answer::Members(MembersRead::Failed(ErrorCode::INTERNAL)))
        }
        Job::History(key, ..) => Mail::Answer(*key, Answer::History(Err(ErrorCode::INTERNAL))),
        Job::Watch(key, user, _) => {
            Mail::Answer(*key, Answer::Watched(user.1.clone(), Err(WatchRefusal::Unavailable)))
        }
        Job::Register(channel, attempt) => {
            Mail::Table(TableInput::Registered { channel: channel.clone(), attempt: *attempt, ok: false })
        }
        Job::Read { channel, attempt, .. } => {
            Mail::Table(TableInput::Read { channel: channel.clone(), attempt: *attempt, read: None })
        }
        Job::Unregister(channel) => Mail::Table(TableInput::Unregistered { channel: channel.clone() }),
        Job::Touch(_) => return None,
    })
}
