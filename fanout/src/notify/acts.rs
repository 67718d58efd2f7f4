//! Who is notified of what, and which group it joins. Pure.

use fama_protocol::{AppId, PostId, UserId};
use fama_storage::{Dispatch, EventKey, InboxAct, Notice, Post};

/// Follows of so long are one group, in milliseconds.
pub(crate) const FOLLOW_SPAN_MS: u64 = 12 * 3_600_000;

/// The mark in the store up to whose time nobody is notified of an app's acts: they were imported. It is raised with
/// [`fama_storage::LeaseStore::raise_mark`], to milliseconds of the wall clock.
pub fn quiet_mark(app: &AppId) -> String {
    format!("imported/{app}")
}

/// A post's versions: published, deleted.
const PUBLISHED: u64 = 1;
const DELETED: u64 = 2;

/// The authors of the posts that a post answers and passes on.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Parents {
    pub(crate) reply_to: Option<UserId>,
    pub(crate) repost_of: Option<UserId>,
}

fn by(actor: &UserId, name: String) -> EventKey {
    EventKey { actor: Some(actor.clone()), name }
}

fn post_event(post: PostId, author: &UserId) -> EventKey {
    by(author, format!("p/{post}"))
}

/// What a new post means for others: for each of them one notice, the first of reply, mention and repost.
pub(crate) fn of_post(post: &Post, parents: &Parents) -> Vec<(UserId, Notice)> {
    let notice = |kind: &str, group_key: String, subject: PostId, data: Option<String>| Notice {
        event: post_event(post.id, &post.author),
        version: PUBLISHED,
        kind: kind.to_owned(),
        group_key,
        subject: Some(subject),
        data,
        expires_at: None,
        once: false,
    };
    let alone = || format!("p/{}", post.id);
    let mut found: Vec<(UserId, Notice)> = Vec::new();
    let mut add = |user: &UserId, notice: Notice| {
        if *user != post.author && found.iter().all(|(other, _)| other != user) {
            found.push((user.clone(), notice));
        }
    };
    if let (Some(user), Some(answered)) = (&parents.reply_to, post.reply_to) {
        let data = format!("{{\"reply_to\":\"{answered}\"}}");
        add(user, notice("reply", alone(), post.id, Some(data)));
    }
    for user in &post.mentions {
        add(user, notice("mention", alone(), post.id, None));
    }
    if let (Some(user), Some(original)) = (&parents.repost_of, post.repost_of) {
        add(user, notice("repost", format!("s/{original}"), original, None));
    }
    found
}

/// What the deletion of a post undoes.
pub(crate) fn of_deleted(
    post: PostId,
    author: &UserId,
    mentions: &[UserId],
    parents: &Parents,
) -> Vec<(UserId, InboxAct)> {
    let others = mentions.iter().chain(&parents.reply_to).chain(&parents.repost_of);
    let mut users: Vec<&UserId> = others.filter(|user| *user != author).collect();
    users.sort_unstable();
    users.dedup();
    let undo = || InboxAct::Undo { event: post_event(post, author), version: DELETED };
    users.into_iter().map(|user| (user.clone(), undo())).collect()
}

/// A reaction, for the author of the post.
pub(crate) fn of_reaction(post: PostId, user: &UserId, kind: &str, active: bool, version: u64) -> InboxAct {
    let name = format!("r/{post}/{kind}");
    let event = by(user, name.clone());
    if !active {
        return InboxAct::Undo { event, version };
    }
    InboxAct::Add(Notice {
        event,
        version,
        kind: "reaction".to_owned(),
        group_key: name,
        subject: Some(post),
        // Kinds have no character that JSON escapes.
        data: Some(format!("{{\"reaction\":\"{kind}\"}}")),
        expires_at: None,
        once: false,
    })
}

/// A follow, for the author. Versions of edges are times, so that each act has the same group wherever it is looked at.
pub(crate) fn of_follow(follower: &UserId, active: bool, version: u64) -> InboxAct {
    let event = by(follower, "f".to_owned());
    if !active {
        return InboxAct::Undo { event, version };
    }
    InboxAct::Add(Notice {
        event,
        version,
        kind: "follow".to_owned(),
        group_key: format!("f/{}", version / FOLLOW_SPAN_MS),
        subject: None,
        data: None,
        expires_at: None,
        once: false,
    })
}

/// An act that its recipient is not told of: remembered as if it had been undone at once, so that its job, should it come
/// again when the actor is not hidden any more, changes nothing.
pub(crate) fn passed_over(act: InboxAct) -> InboxAct {
    match act {
        InboxAct::Add(notice) => InboxAct::Undo { event: notice.event, version: notice.version },
        undo @ InboxAct::Undo { .. } => undo,
    }
}

/// What the app sends, for each recipient.
pub(crate) fn of_dispatch(dispatch: &Dispatch) -> InboxAct {
    let Dispatch { id, kind, data, group_key, dedupe_key, expires_at, .. } = dispatch;
    let alone = || format!("n/{id}");
    let name = dedupe_key.as_ref().map_or_else(alone, |key| format!("k/{kind}/{key}"));
    InboxAct::Add(Notice {
        event: EventKey { actor: None, name },
        version: 1,
        kind: kind.clone(),
        group_key: group_key.as_ref().map_or_else(alone, |key| format!("g/{kind}/{key}")),
        subject: None,
        data: data.clone(),
        expires_at: *expires_at,
        once: dedupe_key.is_some(),
    })
}

#[cfg(test)]
mod tests {
    use fama_protocol::UnixMs;
    use fama_storage::{Delivery, Visibility};

    use super::*;

    fn user(name: &str) -> UserId {
        UserId::new(name).unwrap()
    }

    fn post(mentions: &[&str]) -> Post {
        Post {
            id: PostId::from_u64(9).unwrap(),
            author: user("ann"),
            kind: "post".into(),
            text: None,
            data: None,
            reply_to: PostId::from_u64(3),
            repost_of: PostId::from_u64(4),
            mentions: mentions.iter().map(|name| user(name)).collect(),
            visibility: Visibility::Public,
            attachments: None,
            created_at: UnixMs(5),
            updated_at: UnixMs(5),
            rev: 1,
            delivery: Delivery::Push,
            deleted: false,
        }
    }

    #[test]
    fn everybody_hears_once_of_a_post_and_nobody_of_their_own() {
        let parents = |reply_to, repost_of| Parents {
            reply_to: Some(user(reply_to)),
            repost_of: Some(user(repost_of)),
        };
        let heard = |parents: &Parents, mentions: &[&str]| -> Vec<(String, String)> {
            let notices = of_post(&post(mentions), parents);
            notices.into_iter().map(|(user, notice)| (user.to_string(), notice.kind)).collect()
        };
        let text = |pairs: &[(&str, &str)]| -> Vec<(String, String)> {
            pairs.iter().map(|(user, kind)| ((*user).to_owned(), (*kind).to_owned())).collect()
        };
        assert_eq!(
            heard(&parents("bob", "cem"), &["bob", "dora", "ann", "dora"]),
            text(&[("bob", "reply"), ("dora", "mention"), ("cem", "repost")])
        );
        assert_eq!(heard(&parents("ann", "ann"), &["cem"]), text(&[("cem", "mention")]));
        let undone =
            of_deleted(post(&[]).id, &user("ann"), &[user("cem"), user("ann")], &parents("bob", "cem"));
        assert_eq!(undone.iter().map(|(user, _)| user.as_str()).collect::<Vec<_>>(), ["bob", "cem"]);
    }

    #[test]
    fn follows_group_by_their_own_time() {
        let group = |version| match of_follow(&user("ann"), true, version) {
            InboxAct::Add(notice) => notice.group_key,
            InboxAct::Undo { .. } => panic!(),
        };
        assert_eq!(group(FOLLOW_SPAN_MS), group(2 * FOLLOW_SPAN_MS - 1));
        assert_ne!(group(FOLLOW_SPAN_MS), group(2 * FOLLOW_SPAN_MS));
    }
}
