//! The follow graph of the demonstration: who reaches whom on Twitter among members of the 117th United States Congress.

use std::collections::HashMap;

use fama_protocol::UserId;

use super::Member;

/// Lines of `follower,followee` after a head. Source: see `assets/NOTICE`.
pub const FOLLOWS: &[u8] = include_bytes!("../../assets/congress-twitter.csv");

/// The members, those with most followers first.
pub fn members() -> Vec<Member> {
    let mut followers: HashMap<&str, usize> = HashMap::new();
    let text = std::str::from_utf8(FOLLOWS).unwrap_or_default();
    for (follower, followee) in text.lines().skip(1).filter_map(|line| line.split_once(',')) {
        followers.entry(follower).or_default();
        *followers.entry(followee).or_default() += 1;
    }
    let mut ranked: Vec<(&str, usize)> = followers.into_iter().collect();
    ranked.sort_unstable_by(|(a, many), (b, few)| few.cmp(many).then(a.cmp(b)));
    let member = |id: &str| {
        let (id, name) = (UserId::new(id).ok()?, name(id));
        let haystack = format!("{id} {name}").to_lowercase();
        Some(Member { id, name, haystack })
    };
    ranked.into_iter().filter_map(|(id, _)| member(id)).collect()
}

/// A name to show, from an account such as `SenatorBaldwin`, `RepJimBanks` or `Jim_Jordan`.
fn name(id: &str) -> String {
    let mut name = String::with_capacity(id.len() + 4);
    let mut before = ' ';
    for c in id.chars() {
        let starts_word = c.is_ascii_uppercase() && before.is_ascii_lowercase();
        let starts_number = c.is_ascii_digit() && !before.is_ascii_digit();
        if (starts_word || starts_number) && before != ' ' {
            name.push(' ');
        }
        before = if c == '_' { ' ' } else { c };
        name.push(before);
    }
    name.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_members_are_there_and_have_names() {
        let members = members();
        assert_eq!(members.len(), 475);
        assert!(members.iter().all(|member| !member.name.is_empty()));
        assert_eq!(
            ["SenatorBaldwin", "RepJimBanks", "Jim_Jordan", "RepAOC", "Call_Me_Dutch", "Rep1stDistrict"]
                .map(name),
            [
                "Senator Baldwin",
                "Rep Jim Banks",
                "Jim Jordan",
                "Rep AOC",
                "Call Me Dutch",
                "Rep 1st District"
            ]
        );
    }
}
