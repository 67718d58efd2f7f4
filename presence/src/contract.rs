//! What every backend must do. Backends call these in their tests. Names begin with one that the caller chooses, so that
//! suites can run on a shared server.

#![allow(clippy::unwrap_used, reason = "assertions of tests")]

use bytes::Bytes;
use fama_protocol::{AppId, Channel, ScopedChannel, UserId};
use futures_util::FutureExt;

use crate::backend::{Backend, Heard, Hint, Member, MemberChange, MemberCounts, Node, UserKey};

/// The ttl of the leases in the suites.
pub const TTL_MS: u64 = 2_000;

fn node(name: &str, at: u32) -> Node {
    Node(format!("{name}-{at}.1").into())
}

fn user(name: &str, at: &str) -> UserKey {
    (AppId::default(), UserId::new(&format!("{name}.{at}")).unwrap())
}

/// What the node has heard by now; a backend on a server has delivered what its calls told.
fn heard(backend: &dyn Backend, node: &Node) -> Vec<Hint> {
    let mut hints = Vec::new();
    while let Some(heard) = backend.hear(node).now_or_never() {
        match heard {
            Some(Heard::Hint(hint)) => hints.push(hint),
            other => panic!("{other:?}"),
        }
    }
    hints
}

/// The suite of users: reports, watching, leases.
pub async fn users(backend: &dyn Backend, name: &str) {
    let (one, two) = (node(name, 1), node(name, 2));
    let (ann, bob) = (user(name, "ann"), user(name, "bob"));
    let both = [ann.clone(), bob.clone()];
    for node in [&one, &two] {
        assert!(!backend.renew(node, TTL_MS, 0).await.unwrap(), "the first is no renewal");
        assert!(backend.renew(node, TTL_MS, 1).await.unwrap());
    }
    backend.watch(&two, &ann, true).await.unwrap();
    backend.report(&one, &[(ann.clone(), 2), (bob.clone(), 1)]).await.unwrap();
    assert_eq!(backend.elsewhere(&two, &both, 10).await.unwrap(), [2, 1]);
    assert_eq!(backend.elsewhere(&one, &both, 10).await.unwrap(), [0, 0], "one's own are not elsewhere");
    assert_eq!(heard(backend, &two), [Hint::User(ann.clone())], "only who is watched");
    backend.report(&one, &[(ann.clone(), 1)]).await.unwrap();
    assert_eq!(heard(backend, &two), [], "coming and going are told, numbers are not");
    assert_eq!(backend.elsewhere(&two, &both, 10).await.unwrap(), [1, 1]);

    let relation = Hint::Relation(ann.0.clone(), bob.1.clone(), ann.1.clone());
    backend.tell(relation.clone()).await.unwrap();
    backend.tell(Hint::User(bob.clone())).await.unwrap();
    assert_eq!(heard(backend, &two), [relation]);
    assert_eq!(heard(backend, &one), []);

    backend.report(&one, &[(ann.clone(), 0)]).await.unwrap();
    backend.report(&one, &[(ann.clone(), 0)]).await.unwrap();
    assert_eq!(heard(backend, &two), [Hint::User(ann.clone())]);

    // A node dies: what it said does not count any more, and one caller is given its users.
    backend.report(&one, &[(ann.clone(), 1)]).await.unwrap();
    backend.report(&two, &[(bob.clone(), 1)]).await.unwrap();
    heard(backend, &two);
    assert!(backend.renew(&two, TTL_MS, 1_500).await.unwrap());
    assert_eq!(backend.sweep(1_600).await.unwrap(), []);
    assert_eq!(backend.elsewhere(&two, &both, 2_100).await.unwrap(), [0, 0]);
    let gone = backend.sweep(2_100).await.unwrap();
    assert_eq!(gone, std::slice::from_ref(&ann), "bob is on the other node too");
    assert_eq!(backend.sweep(2_100).await.unwrap(), []);
    assert_eq!(heard(backend, &two), [Hint::User(ann.clone())]);

    // It comes back, and has to say everything again.
    assert!(!backend.renew(&one, TTL_MS, 2_200).await.unwrap());
    assert_eq!(backend.elsewhere(&two, &both, 2_200).await.unwrap(), [0, 0]);
    backend.report(&one, &[(ann.clone(), 1)]).await.unwrap();
    assert_eq!(backend.elsewhere(&two, &both, 2_200).await.unwrap(), [1, 0]);
    heard(backend, &two);
    backend.watch(&two, &ann, false).await.unwrap();
    backend.report(&one, &[(ann.clone(), 0)]).await.unwrap();
    assert_eq!(heard(backend, &two), []);
    for node in [&one, &two] {
        backend.report(node, &[(ann.clone(), 0), (bob.clone(), 0)]).await.unwrap();
    }
}

fn change(channel: &ScopedChannel, client: u128, user: &str, joined: bool) -> MemberChange {
    let info = Bytes::from(format!("{{\"user\":\"{user}\",\"client\":\"{client}\"}}"));
    let member = Member { client, user: user.into(), info };
    MemberChange { channel: channel.clone(), member, joined, tell: true }
}

/// The suite of members of channels.
pub async fn members(backend: &dyn Backend, name: &str) {
    let (one, two) = (node(name, 3), node(name, 4));
    let channel =
        |at: &str| ScopedChannel::new(&AppId::default(), Channel::new(&format!("{name}:{at}")).unwrap());
    let (room, other) = (channel("room"), channel("other"));
    let from = 100_000;
    for node in [&one, &two] {
        backend.renew(node, TTL_MS, from).await.unwrap();
    }
    let joins =
        [change(&room, 1, "ann", true), change(&room, 2, "ann", true), change(&other, 1, "ann", true)];
    backend.change_members(&one, &joins).await.unwrap();
    backend.change_members(&two, &[change(&room, 3, "bob", true)]).await.unwrap();
    let count = async |channel, now| backend.count(channel, now).await.unwrap();
    assert_eq!(count(&room, from).await, MemberCounts { clients: 3, users: 2 });
    let empty = channel("empty");
    assert_eq!(count(&empty, from).await, MemberCounts::default());
    let mut all = backend.members(&room, 3, from).await.unwrap().unwrap();
    all.sort_by_key(|member| member.client);
    assert_eq!(all[2], change(&room, 3, "bob", true).member);
    assert_eq!(backend.members(&room, 2, from).await.unwrap(), None);

    let told = |change: &MemberChange| Hint::Member {
        channel: change.channel.clone(),
        joined: change.joined,
        info: change.member.info.clone(),
    };
    let bob = change(&room, 3, "bob", true);
    let expected: Vec<_> = joins.iter().chain([&bob]).map(told).collect();
    assert_eq!(heard(backend, &one), expected, "one's own coming as well");
    assert_eq!(heard(backend, &two), [told(&bob)]);

    // Said twice it changes nothing, and is not told; nor is what shall not be.
    let silent = MemberChange { tell: false, ..change(&room, 4, "cat", true) };
    let gone = change(&room, 2, "ann", false);
    let changes = [joins[0].clone(), silent.clone(), gone.clone(), gone.clone()];
    backend.change_members(&one, &changes).await.unwrap();
    assert_eq!(heard(backend, &two), [told(&gone)]);
    assert_eq!(count(&room, from).await, MemberCounts { clients: 3, users: 3 });
    // Who leaves is told as it came.
    let nameless = Member { client: 3, user: "".into(), info: Bytes::new() };
    let leaves = MemberChange { member: nameless, ..change(&room, 3, "bob", false) };
    heard(backend, &one);
    backend.change_members(&two, &[leaves]).await.unwrap();
    assert_eq!(heard(backend, &one), [told(&change(&room, 3, "bob", false))]);
    assert_eq!(heard(backend, &two), [], "nobody is there to hear it");

    // The node of the others dies.
    backend.change_members(&two, &[bob]).await.unwrap();
    heard(backend, &two);
    backend.renew(&two, TTL_MS, from + TTL_MS - 1).await.unwrap();
    assert_eq!(count(&room, from + TTL_MS).await, MemberCounts { clients: 1, users: 1 });
    backend.sweep(from + TTL_MS).await.unwrap();
    let mut left = heard(backend, &two);
    left.sort_by_key(|hint| format!("{hint:?}"));
    assert_eq!(left, [told(&change(&room, 1, "ann", false)), told(&change(&room, 4, "cat", false))]);
    backend.change_members(&two, &[change(&room, 3, "bob", false)]).await.unwrap();
    assert_eq!(count(&room, from + TTL_MS).await, MemberCounts::default());
}
