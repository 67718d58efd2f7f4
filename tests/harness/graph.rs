//! The follow graph of the suites: the friendships of `tests/data`, each as two follows.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

/// People are numbered from 0; [`name`] gives their ids.
pub struct Graph {
    /// Whom each person follows, ascending. Friendships go both ways, so these are the followers as well.
    pub friends: Vec<Vec<u32>>,
}

/// The user id of a person.
pub fn name(person: u32) -> String {
    format!("u{person}")
}

impl Graph {
    /// The Facebook graph: 4,039 people, 176,468 follows.
    pub fn facebook() -> Self {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("data/facebook-ego.txt");
        let text = std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        let mut friends: Vec<Vec<u32>> = Vec::new();
        for line in text.lines() {
            let (person, others) = line.split_once(": ").expect("a person, a colon, friends");
            let person: u32 = person.parse().expect("a number");
            for friend in others.split(' ').map(|f| f.parse::<u32>().expect("a number")) {
                let size = friends.len().max(person.max(friend) as usize + 1);
                friends.resize_with(size, Vec::new);
                friends[person as usize].push(friend);
                friends[friend as usize].push(person);
            }
        }
        for list in &mut friends {
            list.sort_unstable();
        }
        Self { friends }
    }

    /// How many people.
    pub fn people(&self) -> u32 {
        u32::try_from(self.friends.len()).expect("few people")
    }

    /// How many follows.
    pub fn follows(&self) -> usize {
        self.friends.iter().map(Vec::len).sum()
    }

    /// Writes the follows as the importer reads them.
    pub fn write_csv(&self, folder: &Path) -> PathBuf {
        let mut csv = String::from("follower,followee\n");
        for (person, friends) in self.friends.iter().enumerate() {
            for friend in friends {
                writeln!(csv, "u{person},u{friend}").expect("a string grows");
            }
        }
        let path = folder.join("follows.csv");
        std::fs::write(&path, csv).expect("the file is written");
        path
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_graph_is_the_one_named() {
        let graph = Graph::facebook();
        assert_eq!((graph.people(), graph.follows()), (4_039, 176_468));
        assert_eq!(graph.friends.iter().map(Vec::len).max(), Some(1_045));
        assert!(graph.friends[0].binary_search(&1).is_ok() && graph.friends[1].binary_search(&0).is_ok());
    }
}
