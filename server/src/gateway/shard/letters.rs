//! What letters mean.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use fama_presence::End;
use fama_protocol::UserId;
use fama_protocol::centrifuge::DisconnectCode;

use super::{Drain, Shard};
use crate::gateway::inbox::{Answer, ConnKey, Mail};

impl Shard {
    /// Reads letters, at most so many; `true`: there are more.
    pub(super) fn read_letters(&mut self, limit: usize) -> bool {
        for _ in 0..limit {
            let Some(letter) = self.letters.pop_front() else { return false };
            self.read_letter(letter);
        }
        !self.letters.is_empty()
    }

    fn read_letter(&mut self, letter: Mail) {
        match letter {
            Mail::Table(input) => self.on_table(input),
            Mail::Member(action) => self.on_member(action),
            Mail::Answer(key, answer) => self.on_answer(key, answer),
            Mail::Join { key, app, user } => {
                if let Some(oldest) = self.ports.presence.connect(&app, &user, key) {
                    self.post(oldest.shard(), Mail::Close(oldest, DisconnectCode::CONNECTION_LIMIT));
                }
            }
            Mail::Leave { key, app, user, goodbye } => {
                let end = if goodbye { End::Goodbye } else { End::Lost };
                self.ports.presence.disconnect(&app, &user, key, end);
            }
            Mail::Close(key, code) => {
                if let Some(index) = self.find(key) {
                    self.close_for(index, code);
                }
            }
            Mail::DisconnectUser { app, user, code } => {
                for key in self.ports.presence.connections(&app, &user) {
                    self.post(key.shard(), Mail::Close(key, code));
                }
            }
            Mail::DisconnectToken { token, code } => self.disconnect_token(token, code),
            Mail::Authors { app, user, authors } => {
                for key in self.ports.presence.connections(&app, &user) {
                    self.post(key.shard(), Mail::ConnAuthors(key, Arc::clone(&authors)));
                }
            }
            Mail::ConnAuthors(key, authors) => self.on_authors(key, &authors),
            Mail::Updates(key, updates) => {
                if let Some(index) = self.find(key) {
                    self.with_logic(index, |logic, cx| logic.on_updates(&updates, cx));
                }
            }
            Mail::Drain(over_ms) => {
                let end = self.conns.end();
                self.drain = Some(Drain { begun_ms: self.now_ms, over_ms, next: 0, end });
            }
            Mail::Local(end, principal, had) => self.open_local(end, *principal, had),
            Mail::Stop => self.stopped = true,
        }
    }

    fn on_authors(&mut self, key: ConnKey, authors: &[UserId]) {
        if let Some(index) = self.find(key) {
            self.with_logic(index, |logic, cx| logic.on_authors(authors, cx));
        }
    }

    /// Rare, and only as long as a look at each connection takes.
    fn disconnect_token(&mut self, token: u64, code: DisconnectCode) {
        for index in 0..self.conns.end() {
            if self.conns.get(index).is_some_and(|conn| conn.logic.has_token(token)) {
                self.close_for(index, code);
            }
        }
    }

    fn on_answer(&mut self, key: ConnKey, answer: Answer) {
        let Some(index) = self.find(key) else { return };
        match answer {
            Answer::Authenticated(result) => {
                self.with_logic(index, |logic, cx| logic.on_authenticated(result, cx));
            }
            Answer::Granted(result) => {
                self.with_logic(index, |logic, cx| logic.on_granted(result, cx));
            }
            Answer::Entered(entered) => {
                let (hold, authors) = entered.unzip();
                if let (Some(conn), Some(hold)) = (self.conns.get_mut(index), hold)
                    && conn.is_open()
                {
                    conn.entered = true;
                    hold.keep();
                }
                self.with_logic(index, |logic, cx| logic.on_entered(authors, cx));
            }
            Answer::Published(ok) => {
                self.with_logic(index, |logic, cx| logic.on_published(ok, cx));
            }
            Answer::Watched(user, result) => {
                self.with_logic(index, |logic, cx| logic.on_watched(&user, result, cx));
            }
            Answer::History(read) => {
                self.with_logic(index, |logic, cx| logic.on_history(read, cx));
            }
        }
        self.schedule(index);
    }

    /// Counts a socket that is gone.
    pub(super) fn uncount(&self) {
        self.shared.connections.fetch_sub(1, Ordering::Relaxed);
    }
}
