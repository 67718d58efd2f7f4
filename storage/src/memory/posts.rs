//! Posts.

use async_trait::async_trait;
use fama_protocol::{AppId, PostId, UnixMs, UserId};

use super::outbox::{check_request, complete_held};
use super::{App, MemoryStore, Queued, check_count, check_limit};
use crate::{
    AuthorPage, Delivery, OutboxRow, Post, PostChange, PostPatch, PostRef, PostStore, RequestKey, Result,
    StoredResponse, Task,
};

impl App {
    /// The post to change, unless it is not there, not the author's, or deleted.
    fn changeable(
        &mut self,
        author: Option<&UserId>,
        id: PostId,
    ) -> std::result::Result<&mut Post, PostChange> {
        match self.posts.get_mut(&id) {
            Some(post) if author.is_some_and(|author| *author != post.author) => Err(PostChange::NotFound),
            Some(post) if post.deleted => Err(PostChange::Unchanged),
            Some(post) => Ok(post),
            None => Err(PostChange::NotFound),
        }
    }
}

#[async_trait]
impl PostStore for MemoryStore {
    async fn insert(
        &self,
        app: &AppId,
        post: &Post,
        completes: Option<(&RequestKey, &StoredResponse)>,
        now: UnixMs,
    ) -> Result<OutboxRow> {
        if let Some((key, response)) = completes {
            check_request(key, Some(response))?;
        }
        self.app(app, |rows| {
            let task = Task::FanOut { post: post.id, author: post.author.clone() };
            if rows.posts.contains_key(&post.id) {
                let queued = rows.queued.get(&task.row_id()).cloned();
                return Ok(queued.unwrap_or(Queued { at: now, attempts: 0, task }).into_row(app));
            }
            if let Some((key, response)) = completes {
                complete_held(rows, key, post.id, response)?;
            }
            rows.posts.insert(post.id, post.clone());
            rows.authors.entry(post.author.clone()).or_default().insert(post.id);
            if let Some(answered) = post.reply_to {
                rows.replies.entry(answered).or_default().insert(post.id);
            }
            Ok(rows.owe(app, task, now))
        })
    }

    async fn get_many(&self, app: &AppId, ids: &[PostId]) -> Result<Vec<Option<Post>>> {
        check_count(ids.len(), 1_000)?;
        self.app(app, |rows| Ok(ids.iter().map(|id| rows.posts.get(id).cloned()).collect()))
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
        self.app(app, |rows| {
            let ids = rows.authors.get(author).into_iter().flat_map(|ids| ids.iter().rev());
            let posts = ids.filter_map(|id| rows.posts.get(id));
            let mut posts = posts
                .filter(|post| before.is_none_or(|before| post.id < before))
                .filter(|post| !pull_only || post.delivery == Delivery::Pull)
                .map(|post| PostRef { id: post.id, delivery: post.delivery, deleted: post.deleted });
            let page = posts.by_ref().take(limit).collect();
            Ok(AuthorPage { posts: page, more: posts.next().is_some() })
        })
    }

    async fn newest(&self, app: &AppId, author: &UserId) -> Result<Option<PostId>> {
        self.app(app, |rows| Ok(rows.authors.get(author).and_then(|ids| ids.last().copied())))
    }

    async fn replies(
        &self,
        app: &AppId,
        post: PostId,
        before: Option<PostId>,
        limit: usize,
    ) -> Result<Vec<PostId>> {
        check_limit(limit, 1_000)?;
        self.app(app, |rows| {
            let ids = rows.replies.get(&post).into_iter().flat_map(|ids| ids.iter().rev().copied());
            Ok(ids.filter(|id| before.is_none_or(|before| *id < before)).take(limit).collect())
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
        self.app(app, |rows| {
            let post = match rows.changeable(Some(author), id) {
                Ok(post) => post,
                Err(outcome) => return Ok(outcome),
            };
            let mut new = post.clone();
            if let Some(text) = &patch.text {
                new.text.clone_from(text);
            }
            if let Some(data) = &patch.data {
                new.data.clone_from(data);
            }
            if new == *post {
                return Ok(PostChange::Unchanged);
            }
            new.rev += 1;
            new.updated_at = now;
            *post = new.clone();
            let task = Task::PostUpdated { post: id, author: author.clone(), rev: new.rev };
            let row = rows.owe(app, task, now);
            Ok(PostChange::Changed(Box::new(new), row))
        })
    }

    async fn delete(
        &self,
        app: &AppId,
        author: Option<&UserId>,
        id: PostId,
        now: UnixMs,
    ) -> Result<PostChange> {
        self.app(app, |rows| {
            let post = match rows.changeable(author, id) {
                Ok(post) => post,
                Err(outcome) => return Ok(outcome),
            };
            (post.text, post.data, post.attachments) = (None, None, None);
            let mentions = std::mem::take(&mut post.mentions);
            (post.deleted, post.updated_at) = (true, now);
            let gone = post.clone();
            let task = Task::PostDeleted { post: id, author: gone.author.clone(), mentions };
            let row = rows.owe(app, task, now);
            Ok(PostChange::Changed(Box::new(gone), row))
        })
    }
}
