//! Who watches whom, may see what, and has been told what.
//!
//! Nothing here says how a user is: whoever owns this marks users who may have changed, takes those that are due, finds out
//! how they are now, and brings it back. So whatever happened in between is told once, or not at all if all is as it was.

use std::collections::{HashMap, VecDeque};

use fama_protocol::{AppId, UserId};

use crate::backend::UserKey;
use crate::status::Seen;

/// What a watcher may see of a user.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sight {
    /// How the user is.
    Shown,
    /// Somebody who is always offline.
    Hidden,
    /// Nothing: it may not watch.
    Denied,
}

/// What a watcher is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Update {
    /// The user looks so now.
    Seen(Seen),
    /// It may not watch any more.
    Ended,
}

/// A user to be looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Due {
    /// The user.
    pub user: UserKey,
    /// Viewers whose sight has to be found out again.
    pub viewers: Vec<UserId>,
    /// Of the watching that it was taken from.
    era: u64,
}

/// Of a new watcher.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Begun {
    /// Nobody else watches the user.
    First,
    /// Others do.
    More,
    /// There are too many watchers already.
    Full,
}

#[derive(Debug)]
struct Watcher<C> {
    connection: C,
    /// `None`: nobody's connection.
    viewer: Option<UserId>,
    /// `None` until it is let in.
    sight: Option<Sight>,
    /// The sight may have changed since it was taken to be found out.
    recheck: bool,
}

#[derive(Debug)]
struct Target<C> {
    /// Another one each time that somebody begins to watch whom nobody watched.
    era: u64,
    /// What those who may see were told last.
    told: Option<Seen>,
    /// Waits in the list.
    due: bool,
    watchers: Vec<Watcher<C>>,
}

/// See the module. `C` names a connection.
#[derive(Debug)]
pub struct Watches<C> {
    limit: usize,
    watchers: usize,
    users: HashMap<UserKey, Target<C>>,
    due: VecDeque<UserKey>,
    eras: u64,
}

impl<C: Copy + PartialEq> Watches<C> {
    /// Nobody watches. At most `limit` watchers of all users together.
    pub fn new(limit: usize) -> Self {
        Self { limit, watchers: 0, users: HashMap::new(), due: VecDeque::new(), eras: 0 }
    }

    /// A connection wants to watch. From now on changes are seen; nothing is told before [`Watches::admit`].
    pub fn begin(&mut self, user: &UserKey, connection: C, viewer: Option<UserId>) -> Begun {
        if self.watchers >= self.limit {
            return Begun::Full;
        }
        self.eras += 1;
        let fresh = || Target { era: self.eras, told: None, due: false, watchers: Vec::new() };
        let target = self.users.entry(user.clone()).or_insert_with(fresh);
        let first = target.watchers.is_empty();
        target.watchers.push(Watcher { connection, viewer, sight: None, recheck: false });
        self.watchers += 1;
        if first { Begun::First } else { Begun::More }
    }

    /// Lets a connection in with what was found out after it began; what it is to be told first. `None`: it may not, or has
    /// gone; if it may not, [`Watches::end`] is still to be called.
    pub fn admit(&mut self, user: &UserKey, connection: C, sight: Sight, now: Seen) -> Option<Seen> {
        let target = self.users.get_mut(user)?;
        let watcher = target.watchers.iter_mut().find(|watcher| watcher.connection == connection)?;
        if sight == Sight::Denied {
            return None;
        }
        watcher.sight = Some(sight);
        let recheck = watcher.recheck;
        // What others were told last. If `now` is newer, it is due and will be told to all.
        let told = *target.told.get_or_insert(now.told());
        if recheck {
            // The relation changed after the sight was found out, or while it was.
            self.touch(user);
        }
        Some(if sight == Sight::Shown { told } else { Seen::default() })
    }

    /// A connection does not watch any more. `true`: nobody else watches the user.
    pub fn end(&mut self, user: &UserKey, connection: C) -> bool {
        let Some(target) = self.users.get_mut(user) else { return false };
        let Some(at) = target.watchers.iter().position(|watcher| watcher.connection == connection) else {
            return false;
        };
        target.watchers.swap_remove(at);
        self.watchers -= 1;
        if target.watchers.is_empty() {
            self.users.remove(user);
            return true;
        }
        if target.watchers.len() * 4 < target.watchers.capacity() {
            target.watchers.shrink_to_fit();
        }
        false
    }

    /// A user may look different now.
    pub fn touch(&mut self, user: &UserKey) {
        if let Some(target) = self.users.get_mut(user)
            && !std::mem::replace(&mut target.due, true)
        {
            self.due.push_back(user.clone());
        }
    }

    /// Two users' relation changed: what each may see of the other has to be found out again.
    pub fn relation(&mut self, app: &AppId, one: &UserId, other: &UserId) {
        for (target, viewer) in [(one, other), (other, one)] {
            let key = (app.clone(), target.clone());
            let Some(target) = self.users.get_mut(&key) else { continue };
            let mut concerned = false;
            for watcher in target.watchers.iter_mut().filter(|it| it.viewer.as_ref() == Some(viewer)) {
                (watcher.recheck, concerned) = (true, true);
            }
            if concerned {
                self.touch(&key);
            }
        }
    }

    /// Something was missed: everything has to be looked at.
    pub fn doubt(&mut self) {
        for (user, target) in &mut self.users {
            target.watchers.iter_mut().for_each(|watcher| watcher.recheck = true);
            if !std::mem::replace(&mut target.due, true) {
                self.due.push_back(user.clone());
            }
        }
    }

    /// Users to be looked at, at most so many, those first that wait longest. For each comes [`Watches::apply`] or
    /// [`Watches::again`].
    pub fn take_due(&mut self, limit: usize) -> Vec<Due> {
        let mut all = Vec::new();
        while all.len() < limit
            && let Some(user) = self.due.pop_front()
        {
            // It may have come into the list twice, if everybody left in between.
            let Some(target) = self.users.get_mut(&user).filter(|target| target.due) else { continue };
            target.due = false;
            let mut viewers = Vec::new();
            for watcher in target.watchers.iter_mut().filter(|it| it.recheck && it.sight.is_some()) {
                watcher.recheck = false;
                viewers.extend(watcher.viewer.clone());
            }
            viewers.sort_unstable();
            viewers.dedup();
            all.push(Due { user, viewers, era: target.era });
        }
        all
    }

    /// A user could not be looked at: is due again.
    pub fn again(&mut self, due: &Due) {
        if let Some(target) = self.users.get_mut(&due.user) {
            let of =
                |watcher: &Watcher<C>| watcher.viewer.as_ref().is_some_and(|it| due.viewers.contains(it));
            target.watchers.iter_mut().filter(|it| of(it)).for_each(|it| it.recheck = true);
        }
        self.touch(&due.user);
    }

    /// How a user is, and what those viewers may see who were asked for: `tell` gets what has changed for whom. A connection
    /// that is told [`Update::Ended`] is still to be ended. Nothing happens if everybody left since it was taken: who
    /// watches now may have been told something newer.
    pub fn apply(
        &mut self,
        due: &Due,
        now: Seen,
        sights: &[(UserId, Sight)],
        mut tell: impl FnMut(C, Update),
    ) {
        let Some(target) = self.users.get_mut(&due.user).filter(|target| target.era == due.era) else {
            return;
        };
        let now = now.told();
        let before = target.told.replace(now);
        for watcher in &mut target.watchers {
            // Whoever is about to be let in is told then.
            let Some(had) = watcher.sight else { continue };
            let asked = sights.iter().find(|(viewer, _)| watcher.viewer.as_ref() == Some(viewer));
            let sight = asked.map_or(had, |(_, sight)| *sight);
            watcher.sight = Some(sight);
            let shown = |sight, seen: Option<Seen>| match sight {
                Sight::Shown => seen,
                Sight::Hidden => Some(Seen::default()),
                Sight::Denied => None,
            };
            match (shown(had, before), shown(sight, Some(now))) {
                (Some(_), None) => tell(watcher.connection, Update::Ended),
                (old, Some(new)) if old != Some(new) => tell(watcher.connection, Update::Seen(new)),
                _ => {}
            }
        }
    }

    /// Whether anybody watches a user.
    pub fn is_watched(&self, user: &UserKey) -> bool {
        self.users.contains_key(user)
    }

    /// Who is watched.
    pub fn users(&self) -> impl Iterator<Item = &UserKey> {
        self.users.keys()
    }

    /// Watchers of all users together.
    pub fn len(&self) -> usize {
        self.watchers
    }

    /// Whether nobody watches.
    pub fn is_empty(&self) -> bool {
        self.watchers == 0
    }

    /// Whether somebody is to be looked at.
    pub fn has_due(&self) -> bool {
        !self.due.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use fama_protocol::UnixMs;
    use proptest::prelude::*;

    use super::*;
    use crate::status::Status;

    fn user(n: u8) -> UserId {
        UserId::new(&format!("u{n}")).unwrap()
    }

    fn key(n: u8) -> UserKey {
        (AppId::default(), user(n))
    }

    fn seen(n: u8) -> Seen {
        match n % 3 {
            0 => Seen { status: Status::Online, last_seen: None, devices: 3 },
            1 => Seen { status: Status::Away, last_seen: None, devices: 1 },
            _ => Seen { status: Status::Offline, last_seen: Some(UnixMs(n.into())), devices: 0 },
        }
    }

    const SIGHTS: [Sight; 3] = [Sight::Shown, Sight::Hidden, Sight::Denied];

    #[test]
    fn what_is_as_before_when_looked_at_is_not_told_and_too_many_are_refused() {
        let mut watches = Watches::new(2);
        assert_eq!(watches.begin(&key(0), 1, Some(user(9))), Begun::First);
        assert_eq!(watches.admit(&key(0), 1, Sight::Shown, seen(0)), Some(seen(0).told()));
        watches.touch(&key(0));
        watches.touch(&key(0));
        let due = watches.take_due(9);
        assert_eq!(due.len(), 1);
        watches.apply(&due[0], Seen { devices: 7, ..seen(0) }, &[], |_, _| panic!("nothing changed"));
        assert_eq!(watches.begin(&key(0), 2, None), Begun::More);
        assert_eq!(watches.begin(&key(1), 3, None), Begun::Full);
        assert!(!watches.end(&key(0), 2) && watches.end(&key(0), 1) && !watches.is_watched(&key(0)));
    }

    /// What happens, to which user (0..3), connection or viewer (0..5), with which value.
    type Step = (u8, u8, u8, u8);

    /// A user who was looked at, and what was found.
    type Looked = (Due, Seen, Vec<(UserId, Sight)>);

    /// How the world is, and what each connection believes of it.
    #[derive(Default)]
    struct Model {
        states: BTreeMap<u8, Seen>,
        sights: BTreeMap<(u8, u8), Sight>,
        beliefs: BTreeMap<(u8, u8), Option<Seen>>,
        /// Looked at, and not brought back yet.
        taken: Vec<Looked>,
        /// Began, with what was found out.
        begun: BTreeMap<(u8, u8), (Sight, Seen)>,
    }

    impl Model {
        fn state(&self, target: u8) -> Seen {
            self.states.get(&target).copied().unwrap_or_default()
        }

        fn sight(&self, viewer: u8, target: u8) -> Sight {
            self.sights.get(&(viewer, target)).copied().unwrap_or(Sight::Shown)
        }

        fn look(&mut self, due: Due) {
            let target = due.user.1.as_str()[1..].parse().unwrap();
            let of = |viewer: &UserId| self.sight(viewer.as_str()[1..].parse().unwrap(), target);
            let sights = due.viewers.iter().map(|viewer| (viewer.clone(), of(viewer))).collect();
            let state = self.state(target);
            self.taken.push((due, state, sights));
        }

        fn bring(&mut self, watches: &mut Watches<u8>) {
            if self.taken.is_empty() {
                return;
            }
            let (due, state, sights) = self.taken.remove(0);
            let target: u8 = due.user.1.as_str()[1..].parse().unwrap();
            let mut ended = Vec::new();
            watches.apply(&due, state, &sights, |connection, update| match update {
                Update::Seen(seen) => drop(self.beliefs.insert((connection, target), Some(seen))),
                Update::Ended => ended.push(connection),
            });
            for connection in ended {
                self.beliefs.remove(&(connection, target));
                watches.end(&due.user, connection);
            }
        }

        fn admit(&mut self, watches: &mut Watches<u8>, id: (u8, u8)) {
            let Some((sight, state)) = self.begun.remove(&id) else { return };
            match watches.admit(&key(id.1), id.0, sight, state) {
                Some(seen) => drop(self.beliefs.insert(id, Some(seen))),
                None => drop(watches.end(&key(id.1), id.0)),
            }
        }

        fn step(&mut self, watches: &mut Watches<u8>, (what, target, viewer, value): Step) {
            let id = (viewer, target);
            match what {
                0 => {
                    self.states.insert(target, seen(value));
                    watches.touch(&key(target));
                }
                1 => {
                    self.sights.insert(id, SIGHTS[usize::from(value % 3)]);
                    watches.relation(&AppId::default(), &user(viewer), &user(target));
                }
                2 if !self.beliefs.contains_key(&id) && !self.begun.contains_key(&id) => {
                    watches.begin(&key(target), viewer, Some(user(viewer)));
                    self.begun.insert(id, (self.sight(viewer, target), self.state(target)));
                }
                3 => self.admit(watches, id),
                4 if self.beliefs.remove(&id).is_some() => drop(watches.end(&key(target), viewer)),
                5 => watches.take_due(usize::from(value % 3)).into_iter().for_each(|due| self.look(due)),
                6 => self.bring(watches),
                7 if !self.taken.is_empty() => watches.again(&self.taken.remove(0).0),
                8 => watches.doubt(),
                _ => {}
            }
        }
    }

    proptest! {
        /// Whatever happens in whatever order: at rest everybody who watches believes what is so, and may.
        #[test]
        fn at_rest_everybody_believes_what_is_so(
            steps in proptest::collection::vec((0u8..9, 0u8..3, 0u8..5, 0u8..9), 1..150)
        ) {
            let (mut watches, mut model) = (Watches::new(1_000), Model::default());
            for step in steps {
                model.step(&mut watches, step);
            }
            let begun: Vec<_> = model.begun.keys().copied().collect();
            for id in begun {
                model.admit(&mut watches, id);
            }
            while watches.has_due() || !model.taken.is_empty() {
                watches.take_due(2).into_iter().for_each(|due| model.look(due));
                model.bring(&mut watches);
            }
            for ((viewer, target), belief) in &model.beliefs {
                let expected = match model.sight(*viewer, *target) {
                    Sight::Shown => Some(model.state(*target).told()),
                    Sight::Hidden => Some(Seen::default()),
                    Sight::Denied => None,
                };
                prop_assert_eq!(*belief, expected, "{} of {}", viewer, target);
            }
            prop_assert_eq!(watches.len(), model.beliefs.len());
        }
    }
}
