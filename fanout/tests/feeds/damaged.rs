//! A store of posts that always fails.

use async_trait::async_trait;
use fama_protocol::{AppId, PostId, UnixMs, UserId};
use fama_storage::{
    AuthorPage, ErrorKind, OutboxRow, Post, PostChange, PostPatch, PostStore, RequestKey, Result,
    StorageError, StoredResponse,
};

/// Fails with this.
pub struct Damaged(pub ErrorKind);

impl Damaged {
    fn fail<T>(&self) -> Result<T> {
        Err(StorageError::new(self.0, "it fails"))
    }
}

#[async_trait]
impl PostStore for Damaged {
    async fn insert(
        &self,
        _: &AppId,
        _: &Post,
        _: Option<(&RequestKey, &StoredResponse)>,
        _: UnixMs,
    ) -> Result<OutboxRow> {
        self.fail()
    }

    async fn get_many(&self, _: &AppId, _: &[PostId]) -> Result<Vec<Option<Post>>> {
        self.fail()
    }

    async fn by_author(
        &self,
        _: &AppId,
        _: &UserId,
        _: Option<PostId>,
        _: usize,
        _: bool,
    ) -> Result<AuthorPage> {
        self.fail()
    }

    async fn newest(&self, _: &AppId, _: &UserId) -> Result<Option<PostId>> {
        self.fail()
    }

    async fn replies(&self, _: &AppId, _: PostId, _: Option<PostId>, _: usize) -> Result<Vec<PostId>> {
        self.fail()
    }

    async fn edit(&self, _: &AppId, _: &UserId, _: PostId, _: &PostPatch, _: UnixMs) -> Result<PostChange> {
        self.fail()
    }

    async fn delete(&self, _: &AppId, _: Option<&UserId>, _: PostId, _: UnixMs) -> Result<PostChange> {
        self.fail()
    }
}
