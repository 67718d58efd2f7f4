//! Profiles.

use async_trait::async_trait;
use fama_protocol::{AppId, UserId};

use crate::{Profile, Result};

/// Profiles. See the crate's contract.
#[async_trait]
pub trait UserStore: Send + Sync {
    /// Profiles in the order asked, for at most 1,000 users.
    async fn profiles(&self, app: &AppId, users: &[UserId]) -> Result<Vec<Option<Profile>>>;

    /// Replaces a profile.
    async fn put_profile(&self, app: &AppId, user: &UserId, profile: &Profile) -> Result<()>;

    /// Users with a profile, ids above `after`, in the order of ids, at most `limit` (1 to 1,000).
    async fn users(
        &self,
        app: &AppId,
        after: Option<&UserId>,
        limit: usize,
    ) -> Result<Vec<(UserId, Profile)>>;
}
