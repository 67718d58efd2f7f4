//! Posts.

use async_trait::async_trait;
use fama_protocol::{AppId, PostId, UnixMs, UserId};

use super::EmbeddedStore;
use super::idempotency::complete_held;
use super::keys::{self, behind, table};
use super::rows::{
    check_count, check_limit, decode_numbers, decode_post, decode_post_ref, empty_row, encode_numbers,
    encode_post, encode_post_ref, invalid,
};
use super::tables::Space;
use super::txn::Txn;
use super::work_rows::QueuedRow;
use crate::{
    AuthorPage, Delivery, OutboxRow, Post, PostChange, PostPatch, PostRef, PostStore, RequestKey, Result,
    StoredResponse, Task,
};

/// A post's row is at most so large.
const POST_BYTES_MAX: usize = 1 << 20;

/// Numbers about an author.
#[derive(Default)]
pub(super) struct AuthorStats {
    /// Posts that are not deleted.
    pub posts: u64,
    /// The newest id; 0 for none.
    newest: u64,
}

impl AuthorStats {
    pub fn decode(row: Option<&[u8]>) -> Result<Self> {
        let [posts, newest] = row.map_or(Ok([0; 2]), |row| decode_numbers("author", row))?;
        Ok(Self { posts, newest })
    }

    fn encode(&self) -> Vec<u8> {
        encode_numbers([self.posts, self.newest])
    }
}

/// What an insert writes, made ready where it was called.
struct Insert {
    app: AppId,
    id: PostId,
    author: UserId,
    row: Vec<u8>,
    delivery: Delivery,
    deleted: bool,
    reply_to: Option<PostId>,
    completes: Option<(RequestKey, StoredResponse)>,
    now: UnixMs,
}

impl Insert {
    fn apply(self, txn: &mut Txn<'_>) -> Result<OutboxRow> {
        let (app, id) = (&self.app, self.id);
        let task = Task::FanOut { post: id, author: self.author.clone() };
        let post_key = keys::post(app, id);
        if txn.get(Space::Posts, &post_key)?.is_some() {
            let queued = txn.get(Space::Work, &keys::outbox(app, table::OUTBOX, &task.row_id()))?;
            let queued = match queued {
                Some(row) => QueuedRow::decode(&row)?,
                None => QueuedRow { at: self.now, attempts: 0, task },
            };
            return Ok(queued.into_row(app));
        }
        if let Some((key, response)) = self.completes {
            complete_held(txn, app, &key, id, response)?;
        }
        let stats_key = keys::user(app, table::AUTHOR_STATS, &self.author);
        let mut stats = AuthorStats::decode(txn.get(Space::Index, &stats_key)?.as_deref())?;
        stats.posts += u64::from(!self.deleted);
        stats.newest = stats.newest.max(id.get());
        txn.put(Space::Index, stats_key, stats.encode());
        txn.put(Space::Posts, post_key, self.row);
        put_refs(txn, app, &self.author, id, self.delivery, self.deleted);
        if let Some(answered) = self.reply_to {
            txn.put(Space::Index, keys::reply(app, answered).id(id).done(), empty_row());
        }
        Ok(txn.owe(app, task, self.now))
    }
}

/// Writes a post's places in its author's indexes.
fn put_refs(txn: &mut Txn<'_>, app: &AppId, author: &UserId, id: PostId, delivery: Delivery, deleted: bool) {
    let row = encode_post_ref(delivery, deleted);
    if delivery == Delivery::Pull {
        txn.put(Space::Index, keys::author(app, author, true).id(id).done(), row.clone());
    }
    txn.put(Space::Index, keys::author(app, author, false).id(id).done(), row);
}

/// A patch, applied. Whether it changed anything.
fn apply_patch(post: &mut Post, patch: PostPatch) -> bool {
    let before = (post.text.clone(), post.data.clone());
    if let Some(text) = patch.text {
        post.text = text;
    }
    if let Some(data) = patch.data {
        post.data = data;
    }
    before.0 != post.text || before.1 != post.data
}

/// The post to change, unless it is not there, not the author's, or deleted.
fn changeable(
    txn: &Txn<'_>,
    app: &AppId,
    author: Option<&UserId>,
    id: PostId,
) -> Result<std::result::Result<Post, PostChange>> {
    let Some(row) = txn.get(Space::Posts, &keys::post(app, id))? else {
        return Ok(Err(PostChange::NotFound));
    };
    let post = decode_post(id, &row)?;
    if author.is_some_and(|author| *author != post.author) {
        return Ok(Err(PostChange::NotFound));
    }
    Ok(if post.deleted { Err(PostChange::Unchanged) } else { Ok(post) })
}

fn edit(
    txn: &mut Txn<'_>,
    app: &AppId,
    author: &UserId,
    id: PostId,
    patch: PostPatch,
    now: UnixMs,
) -> Result<PostChange> {
    let mut post = match changeable(txn, app, Some(author), id)? {
        Ok(post) => post,
        Err(outcome) => return Ok(outcome),
    };
    if !apply_patch(&mut post, patch) {
        return Ok(PostChange::Unchanged);
    }
    post.rev += 1;
    post.updated_at = now;
    let row = checked_row(&post)?;
    txn.put(Space::Posts, keys::post(app, id), row);
    let task = Task::PostUpdated { post: id, author: post.author.clone(), rev: post.rev };
    let owed = txn.owe(app, task, now);
    Ok(PostChange::Changed(Box::new(post), owed))
}

/// Deletes a post. See [`PostStore::delete`].
pub(super) fn delete(
    txn: &mut Txn<'_>,
    app: &AppId,
    author: Option<&UserId>,
    id: PostId,
    now: UnixMs,
) -> Result<PostChange> {
    let mut post = match changeable(txn, app, author, id)? {
        Ok(post) => post,
        Err(outcome) => return Ok(outcome),
    };
    post.text = None;
    post.data = None;
    post.attachments = None;
    let mentions = std::mem::take(&mut post.mentions);
    post.deleted = true;
    post.updated_at = now;
    txn.put(Space::Posts, keys::post(app, id), encode_post(&post));
    put_refs(txn, app, &post.author, id, post.delivery, true);
    let stats_key = keys::user(app, table::AUTHOR_STATS, &post.author);
    let mut stats = AuthorStats::decode(txn.get(Space::Index, &stats_key)?.as_deref())?;
    stats.posts = stats.posts.saturating_sub(1);
    txn.put(Space::Index, stats_key, stats.encode());
    let owed = txn.owe(app, Task::PostDeleted { post: id, author: post.author.clone(), mentions }, now);
    Ok(PostChange::Changed(Box::new(post), owed))
}

fn checked_row(post: &Post) -> Result<Vec<u8>> {
    let row = encode_post(post);
    if row.len() > POST_BYTES_MAX {
        return Err(invalid(format!("a post may have {POST_BYTES_MAX} bytes, not {}", row.len())));
    }
    Ok(row)
}

/// The end of a range of ids below `before`.
fn end_of(prefix: keys::Key, before: Option<PostId>) -> Vec<u8> {
    match before {
        Some(before) => prefix.id(before).done(),
        None => behind(prefix.done()),
    }
}

#[async_trait]
impl PostStore for EmbeddedStore {
    async fn insert(
        &self,
        app: &AppId,
        post: &Post,
        completes: Option<(&RequestKey, &StoredResponse)>,
        now: UnixMs,
    ) -> Result<OutboxRow> {
        if let Some((key, response)) = completes {
            super::idempotency::check(key, Some(response))?;
        }
        let insert = Insert {
            app: app.clone(),
            id: post.id,
            author: post.author.clone(),
            row: checked_row(post)?,
            delivery: post.delivery,
            deleted: post.deleted,
            reply_to: post.reply_to,
            completes: completes.map(|(key, response)| (key.clone(), response.clone())),
            now,
        };
        let bytes = insert.row.len() + completes.map_or(0, |(_, response)| response.body.len());
        self.write(bytes, move |txn| insert.apply(txn)).await
    }

    async fn get_many(&self, app: &AppId, ids: &[PostId]) -> Result<Vec<Option<Post>>> {
        check_count(ids.len(), 1_000)?;
        self.read(|tables| {
            let get = |id: &PostId| {
                let row = tables.get(Space::Posts, &keys::post(app, *id))?;
                row.map(|row| decode_post(*id, &row)).transpose()
            };
            ids.iter().map(get).collect()
        })
    }

    async fn by_author(
        &self,
        app: &AppId,
        author: &UserId,
        before: Option<PostId>,
        limit: usize,
        pull_only: bool,
    ) -> Result<AuthorPage> {
        check_limit(limit, 1_000)?;
        self.read(|tables| {
            let prefix = keys::author(app, author, pull_only);
            let to = end_of(prefix.clone(), before);
            let mut rows = tables.view().range(Space::Index, prefix.done(), to).rev();
            let mut posts = Vec::new();
            for row in rows.by_ref().take(limit) {
                let (key, value) = row?;
                let (delivery, deleted) = decode_post_ref(&value)?;
                posts.push(PostRef { id: keys::id_at_end(&key)?, delivery, deleted });
            }
            let more = rows.next().transpose()?.is_some();
            Ok(AuthorPage { posts, more })
        })
    }

    async fn newest(&self, app: &AppId, author: &UserId) -> Result<Option<PostId>> {
        let row =
            self.read(|tables| tables.get(Space::Index, &keys::user(app, table::AUTHOR_STATS, author)))?;
        let stats = AuthorStats::decode(row.as_deref())?;
        Ok(PostId::from_u64(stats.newest).filter(|id| *id != PostId::ZERO))
    }

    async fn replies(
        &self,
        app: &AppId,
        post: PostId,
        before: Option<PostId>,
        limit: usize,
    ) -> Result<Vec<PostId>> {
        check_limit(limit, 1_000)?;
        self.read(|tables| {
            let prefix = keys::reply(app, post);
            let to = end_of(prefix.clone(), before);
            let rows = tables.view().range(Space::Index, prefix.done(), to).rev();
            rows.take(limit).map(|row| keys::id_at_end(&row?.0)).collect()
        })
    }

    async fn edit(
        &self,
        app: &AppId,
        author: &UserId,
        id: PostId,
        patch: &PostPatch,
        now: UnixMs,
    ) -> Result<PostChange> {
        let (app, author, patch) = (app.clone(), author.clone(), patch.clone());
        let length = |field: &Option<Option<String>>| field.iter().flatten().map(String::len).sum::<usize>();
        let bytes = length(&patch.text) + length(&patch.data);
        self.write(bytes, move |txn| edit(txn, &app, &author, id, patch, now)).await
    }

    async fn delete(
        &self,
        app: &AppId,
        author: Option<&UserId>,
        id: PostId,
        now: UnixMs,
    ) -> Result<PostChange> {
        let (app, author) = (app.clone(), author.cloned());
        self.write(0, move |txn| delete(txn, &app, author.as_ref(), id, now)).await
    }
}
