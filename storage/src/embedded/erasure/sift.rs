//! One row with the user's id in it: removed, changed, ended in the ordinary way, or left because it only looks so.

use fama_protocol::{AppId, UnixMs, UserId};

use crate::embedded::graph::{GraphStats, unfollow};
use crate::embedded::keys::{self, Key, behind, split_text, table};
use crate::embedded::posts;
use crate::embedded::reactions;
use crate::embedded::relations::{Change, version_row};
use crate::embedded::rows::{decode_named, decode_numbers, decode_post, encode_post};
use crate::embedded::tables::Space;
use crate::embedded::txn::Txn;
use crate::embedded::work_rows::decode_set_aside;
use crate::embedded::{codec::broken, inbox};
use crate::{ErasureStep, PostChange, Relation, Result};

/// Rows of reactions to one post that a step removes.
const REACTIONS: usize = 1_000;

/// What became of a row.
pub(super) enum Kept {
    AsItWas,
    Changed,
    /// There is more of it.
    InPart,
}

impl Kept {
    fn unless(changed: bool) -> Self {
        if changed { Self::Changed } else { Self::AsItWas }
    }
}

pub(super) struct Sift<'s, 'a> {
    pub txn: &'s mut Txn<'a>,
    pub app: &'s AppId,
    pub user: &'s UserId,
    pub now: UnixMs,
    /// When the pass began. Versions that are not older are still needed by the work of this pass.
    pub since: UnixMs,
    pub step: &'s mut ErasureStep,
}

/// A text with what comes behind it, or all of it.
fn first_text(rest: &[u8]) -> (&[u8], &[u8]) {
    match split_text(rest) {
        Some((text, rest)) => (text.as_bytes(), rest),
        None => (rest, &[]),
    }
}

fn user_of(text: &[u8]) -> Result<UserId> {
    let text = std::str::from_utf8(text).ok();
    text.and_then(|text| UserId::new(text).ok()).ok_or_else(|| broken("user"))
}

impl Sift<'_, '_> {
    pub fn row(&mut self, space: Space, key: &[u8]) -> Result<Kept> {
        let Some(row) = self.txn.get(space, key)? else { return Ok(Kept::AsItWas) };
        if space == Space::Time {
            return self.time(key);
        }
        let (_, rest) = split_text(key).ok_or_else(|| broken("key"))?;
        let (&kind, rest) = rest.split_first().ok_or_else(|| broken("key"))?;
        match space {
            Space::Index => self.own_post(key),
            Space::Graph => self.graph(kind, key, rest, &row),
            Space::Misc => self.misc(kind, key, rest, &row),
            Space::Inbox => self.inbox(kind, key, rest, &row),
            Space::Work => self.work(kind, key, rest, &row),
            Space::Posts => self.mentions(key, &row),
            Space::Time | Space::Meta => Ok(Kept::AsItWas),
        }
    }

    fn is_user(&self, text: &[u8]) -> bool {
        text == self.user.as_str().as_bytes()
    }

    fn delete(&mut self, space: Space, key: &[u8]) -> Kept {
        self.txn.delete(space, key.to_vec());
        Kept::Changed
    }

    fn delete_if(&mut self, gone: bool, space: Space, key: &[u8]) -> Kept {
        if gone { self.delete(space, key) } else { Kept::AsItWas }
    }

    /// Deletes a post as its author would; once that is done everywhere, removes what is left of it.
    fn own_post(&mut self, key: &[u8]) -> Result<Kept> {
        let (app, id) = (self.app, keys::id_at_end(key)?);
        let deleted = posts::delete(self.txn, app, Some(self.user), id, self.now)?;
        if let PostChange::Changed(_, row) = deleted {
            self.step.owed.push(row);
            return Ok(Kept::Changed);
        }
        for kind in [table::REACTED, table::UNREACTED] {
            let prefix = Key::of(app, kind).id(id).done();
            let found = self.txn.range(Space::Misc, prefix.clone(), behind(prefix), REACTIONS)?;
            for (key, _) in &found {
                self.txn.delete(Space::Misc, key.to_vec());
            }
            if found.len() == REACTIONS {
                return Ok(Kept::InPart);
            }
        }
        self.txn.delete(Space::Misc, Key::of(app, table::REACTIONS).id(id).done());
        let post_key = keys::post(app, id);
        if let Some(row) = self.txn.get(Space::Posts, &post_key)? {
            if let Some(answered) = decode_post(id, &row)?.reply_to {
                self.txn.delete(Space::Index, keys::reply(app, answered).id(id).done());
            }
            self.txn.delete(Space::Posts, post_key);
        }
        self.txn.delete(Space::Index, keys::author(app, self.user, true).id(id).done());
        Ok(self.delete(Space::Index, key))
    }

    /// The numbers about an author go with the last post. How many rows changed.
    pub fn end_of_posts(&mut self) -> Result<u64> {
        let prefix = keys::author(self.app, self.user, false).done();
        let key = keys::user(self.app, table::AUTHOR_STATS, self.user);
        let any = !self.txn.range(Space::Index, prefix.clone(), behind(prefix), 1)?.is_empty();
        if any || self.txn.get(Space::Index, &key)?.is_none() {
            return Ok(0);
        }
        self.txn.delete(Space::Index, key);
        Ok(1)
    }

    fn graph(&mut self, kind: u8, key: &[u8], rest: &[u8], row: &[u8]) -> Result<Kept> {
        let (from, to) = first_text(rest);
        if kind == table::GRAPH_STATS {
            let numbers = GraphStats::decode(Some(row))?;
            let counted = numbers.followers + numbers.following + numbers.kept;
            let related = numbers.blocks + numbers.mutes + numbers.blockers;
            let gone = self.is_user(from) && counted + related == 0;
            return Ok(self.delete_if(gone, Space::Graph, key));
        }
        if !self.is_user(from) && !self.is_user(to) {
            return Ok(Kept::AsItWas);
        }
        match kind {
            table::EDGE => {
                let (follower, author) = (user_of(from)?, user_of(to)?);
                let row = unfollow(self.txn, self.app, &follower, &author, false, self.now)?;
                self.step.owed.extend(row);
                Ok(Kept::Changed)
            }
            table::BLOCK => self.end_relation(Relation::Block, from, to),
            table::MUTE => self.end_relation(Relation::Mute, from, to),
            table::EDGE_ENDED | table::BLOCK_ENDED | table::MUTE_ENDED => {
                let old = version_row(Some(row.into()))? < self.since.0;
                // That of this pass is removed by the next.
                Ok(if old { self.delete(Space::Graph, key) } else { Kept::Changed })
            }
            // The other side of a row that was ended.
            _ => Ok(Kept::AsItWas),
        }
    }

    fn end_relation(&mut self, relation: Relation, from: &[u8], to: &[u8]) -> Result<Kept> {
        let change = Change {
            app: self.app.clone(),
            user: user_of(from)?,
            relation,
            target: user_of(to)?,
            active: false,
            cap: u64::MAX,
            now: self.now,
        };
        self.step.owed.extend(change.apply(self.txn)?.unwrap_or_default());
        Ok(Kept::Changed)
    }

    fn misc(&mut self, kind: u8, key: &[u8], rest: &[u8], row: &[u8]) -> Result<Kept> {
        let of_post = rest.split_at_checked(8).filter(|(_, user)| self.is_user(user));
        match kind {
            table::REACTED => {
                if of_post.is_none() {
                    return Ok(Kept::AsItWas);
                }
                let post = rest.first_chunk::<8>().copied().and_then(fama_protocol::PostId::from_be_bytes);
                let post = post.ok_or_else(|| broken("reaction"))?;
                for (kind, _) in decode_named(row)? {
                    let owed = reactions::react(self.txn, self.app, post, self.user, &kind, false, self.now)?;
                    self.step.owed.extend(owed);
                }
                Ok(Kept::Changed)
            }
            table::UNREACTED => {
                if of_post.is_none() {
                    return Ok(Kept::AsItWas);
                }
                let [version] = decode_numbers("reaction undone", row)?;
                Ok(if version < self.since.0 { self.delete(Space::Misc, key) } else { Kept::Changed })
            }
            table::MODE | table::MODE_PUSH | table::PROFILE | table::PRESENCE => {
                Ok(self.delete_if(self.is_user(rest), Space::Misc, key))
            }
            _ => Ok(Kept::AsItWas),
        }
    }

    fn inbox(&mut self, kind: u8, key: &[u8], rest: &[u8], row: &[u8]) -> Result<Kept> {
        if kind == table::DISPATCH {
            return inbox::leave_dispatch(self.txn, key, row, self.user).map(Kept::unless);
        }
        let (owner, rest) = first_text(rest);
        if self.is_user(owner) {
            return Ok(self.delete(Space::Inbox, key));
        }
        let (actor, name) = first_text(rest);
        if kind != table::EVENT || !self.is_user(actor) {
            return Ok(Kept::AsItWas);
        }
        let name = std::str::from_utf8(name).map_err(|_| broken("event"))?;
        let owner = user_of(owner)?;
        let left = inbox::forget_event(self.txn, self.app, &owner, self.user, name, self.now)?;
        self.step.left.extend(left.map(|group| (owner, group)));
        Ok(Kept::Changed)
    }

    /// Queued rows are waited for.
    fn work(&mut self, kind: u8, key: &[u8], rest: &[u8], row: &[u8]) -> Result<Kept> {
        let gone = match kind {
            table::CLAIM => self.is_user(first_text(rest).0),
            table::SET_ASIDE => decode_set_aside(row)?.1.names(self.user),
            _ => false,
        };
        Ok(self.delete_if(gone, Space::Work, key))
    }

    fn time(&mut self, key: &[u8]) -> Result<Kept> {
        let (app, user) = (self.app.as_str(), self.user.as_str());
        let gone = match key.first() {
            Some(&table::CLAIMED_AT) => {
                let parts = key.get(9..).and_then(split_text);
                parts.is_some_and(|(of, rest)| of == app && first_text(rest).0 == user.as_bytes())
            }
            Some(&table::ENDING) => inbox::ending_names(key, self.app, self.user)?,
            _ => false,
        };
        Ok(self.delete_if(gone, Space::Time, key))
    }

    /// Posts of others name the user no more. What their texts say is theirs.
    fn mentions(&mut self, key: &[u8], row: &[u8]) -> Result<Kept> {
        let mut post = decode_post(keys::id_at_end(key)?, row)?;
        if !post.mentions.contains(self.user) {
            return Ok(Kept::AsItWas);
        }
        post.mentions.retain(|user| user != self.user);
        self.txn.put(Space::Posts, key.to_vec(), encode_post(&post));
        Ok(Kept::Changed)
    }
}
