//! A disk that lost its posts.

use async_trait::async_trait;
use fama_protocol::{AppId, PostId, UnixMs, UserId};
use fama_storage::{
    AuthorPage, ErrorKind, OutboxRow, Post, PostChange, PostPatch, PostStore, RequestKey, Result,
    StorageError, StoredResponse,
};

pub struct Damaged;

fn corrupt<T>() -> Result<T> {
    Err(StorageError::new(ErrorKind::Corrupt, "a checksum is wrong"))
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
        corrupt()
    }

    async fn get_many(&self, _: &AppId, _: &[PostId]) -> Result<Vec<Option<Post>>> {
        corrupt()
    }

    async fn by_author(
        &self,
        _: &AppId,
        _: &UserId,
        _: Option<PostId>,
        _: usize,
        _: bool,
    ) -> Result<AuthorPage> {
        corrupt()
    }

    async fn newest(&self, _: &AppId, _: &UserId) -> Result<Option<PostId>> {
        corrupt()
    }

    async fn replies(&self, _: &AppId, _: PostId, _: Option<PostId>, _: usize) -> Result<Vec<PostId>> {
        corrupt()
    }

    async fn edit(&self, _: &AppId, _: &UserId, _: PostId, _: &PostPatch, _: UnixMs) -> Result<PostChange> {
        corrupt()
    }

    async fn delete(&self, _: &AppId, _: Option<&UserId>, _: PostId, _: UnixMs) -> Result<PostChange> {
        corrupt()
    }
}
