//! Two devices of each user, that come and go: the counts they were told last.

use std::collections::BTreeMap;

use fama_tests::socket::{At, Session};

/// One device.
pub struct Device {
    pub user: String,
    session: Option<Session>,
    since: BTreeMap<String, At>,
    /// Unseen and unread, as told last since the counts were asked for.
    pub told: Option<(u64, u64)>,
}

impl Device {
    pub fn new(user: &str) -> Self {
        Self { user: user.to_owned(), session: None, since: BTreeMap::new(), told: None }
    }

    /// Connects, going on from where it was.
    pub async fn connect(&mut self, url: &str) {
        self.disconnect();
        self.session = Some(Session::resume(url, &self.user, std::mem::take(&mut self.since)).await);
    }

    /// Whether it is connected.
    pub fn is_connected(&self) -> bool {
        self.session.is_some()
    }

    /// Ends its connection, and says so.
    pub async fn goodbye(&mut self) {
        if let Some(session) = self.session.take() {
            self.since = session.positions();
            session.goodbye().await;
        }
        self.told = None;
    }

    /// Loses its connection.
    pub fn disconnect(&mut self) {
        if let Some(session) = self.session.take() {
            self.listen(&session);
            self.since = session.cut();
        }
        // Nobody tells it anything any more.
        self.told = None;
    }

    /// Takes in what came.
    pub fn catch_up(&mut self) {
        if let Some(session) = self.session.take() {
            self.listen(&session);
            self.session = Some(session);
        }
    }

    fn listen(&mut self, session: &Session) {
        assert_eq!(session.violations(), Vec::<String>::new(), "{}", self.user);
        let counts = |push: &fama_tests::socket::Push| {
            let data = &push.body["data"];
            Some((data["unseen"].as_u64()?, data["unread"].as_u64()?))
        };
        if let Some(told) = session.pushes().iter().rev().find_map(counts) {
            self.told = Some(told);
        }
    }
}
