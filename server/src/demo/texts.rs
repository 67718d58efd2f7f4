//! What simulated authors write: put together from parts, so that posts differ as people's posts do.

use std::fmt::Write;

/// A source of random numbers.
pub trait Dice {
    /// A number below `sides`.
    fn roll(&mut self, sides: usize) -> usize;
}

impl<F: FnMut() -> u64> Dice for F {
    fn roll(&mut self, sides: usize) -> usize {
        usize::try_from(self() % sides.max(1) as u64).unwrap_or(0)
    }
}

const TOPICS: [&str; 20] = [
    "rural broadband",
    "the water act",
    "veterans’ care",
    "school lunches",
    "the harbour bridge",
    "small firms",
    "the night train",
    "insulin prices",
    "wildfire crews",
    "the farm bill",
    "open data",
    "child care",
    "clean school buses",
    "the chips plant",
    "apprenticeships",
    "flood insurance",
    "the national parks",
    "postal delivery",
    "hospital staffing",
    "the regional airport",
];
const PLACES: [&str; 16] = [
    "Duluth", "El Paso", "Fresno", "Macon", "Toledo", "Boise", "Bangor", "Tulsa", "Erie", "Mobile", "Pueblo",
    "Yakima", "Dover", "Fargo", "Reno", "Savannah",
];
const PEOPLE: [&str; 12] = [
    "nurses",
    "line workers",
    "students",
    "dairy farmers",
    "librarians",
    "machinists",
    "teachers",
    "shop owners",
    "firefighters",
    "researchers",
    "veterans",
    "bus drivers",
];
const MOODS: [&str; 10] = [
    "Good progress today.",
    "More to do.",
    "Worth the long night.",
    "Grateful for the work behind this.",
    "This one took three years.",
    "Long overdue.",
    "A small step, but a real one.",
    "The details matter here.",
    "Read the text before you judge it.",
    "Not there yet.",
];
const ASKS: [&str; 8] = [
    "Tell me what you see where you live.",
    "What would you ask first?",
    "Which part should come sooner?",
    "My office answers every letter.",
    "The hearing is open to everyone.",
    "I will share the numbers tomorrow.",
    "Notes and sources follow.",
    "Come by and bring a neighbour.",
];
const REPLIES: [&str; 14] = [
    "Agreed, and {place} would say the same.",
    "The {people} I met in {place} told me otherwise.",
    "Let’s take this up in committee.",
    "Thank you for saying so plainly.",
    "What does it cost in year two?",
    "{mood}",
    "We tried that in {place}; happy to compare notes.",
    "Count me in.",
    "Could you share the table behind that figure?",
    "I disagree on {topic}, but I like the direction.",
    "Well said. {ask}",
    "This matters to {people} everywhere.",
    "Same here in {place}.",
    "Glad to co-sponsor.",
];
const POSTS: [&str; 18] = [
    "Spent the morning in {place} with {people}. They know more about {topic} than any report I have read. {mood}",
    "{topic}: the vote is on the {day}. {ask}",
    "Town hall in {place} tonight at {hour}. Bring your questions about {topic}.",
    "{number} pages on {topic}, read so that you don’t have to. Short version: it helps {people}, and it is paid for. {ask}",
    "{mood} The committee took up {topic} with {number} amendments.",
    "Proud of the {people} of {place}. {mood}",
    "A question I get every week in {place}: when will {topic} be settled? Honest answer: not before the {day}.",
    "Thank you, {place}. {number} of you came out in the rain to talk about {topic}.",
    "If you are one of the {people} waiting on {topic}, call my office. We have helped {number} families since spring.",
    "Two facts about {topic}: it reaches {number} counties, and it costs less than last year. {mood}",
    "On the early train from {place}. Reading up on {topic}. {ask}",
    "We passed it. {topic} moves to the floor. {mood}",
    "I voted no today. Not because {topic} does not matter, but because {people} deserve better than half of it.",
    "Coffee with {people} in {place}. Nobody asked about the polls; everybody asked about {topic}.",
    "Six months ago {topic} was a draft on a napkin in {place}. Today it has {number} co-sponsors.",
    "{ask} I am collecting stories about {topic} from {place} and beyond.",
    "Happy anniversary to the library in {place}: {number} years of {people} helping each other.",
    "Correction to what I said about {topic}: the figure is {number}, not more. Thanks to the {people} who wrote in.",
];
const PASSING_ON: [&str; 5] = [
    "Worth your time.",
    "This.",
    "From a colleague who knows {topic} well.",
    "More of this, please.",
    "Seen in {place} too.",
];

fn pick<'a>(dice: &mut impl Dice, list: &[&'a str]) -> &'a str {
    list.get(dice.roll(list.len())).copied().unwrap_or_default()
}

/// Fills the gaps of a pattern.
fn fill(dice: &mut impl Dice, pattern: &str) -> String {
    let mut out = String::with_capacity(200);
    let mut rest = pattern;
    while let Some((before, after)) = rest.split_once('{') {
        let (gap, after) = after.split_once('}').unwrap_or((after, ""));
        out.push_str(before);
        let begins_sentence = out.ends_with(". ") || out.ends_with("? ");
        let begin = out.len();
        match gap {
            "topic" => out.push_str(pick(dice, &TOPICS)),
            "place" => out.push_str(pick(dice, &PLACES)),
            "people" => out.push_str(pick(dice, &PEOPLE)),
            "mood" => out.push_str(pick(dice, &MOODS)),
            "ask" => out.push_str(pick(dice, &ASKS)),
            "day" => write_to(&mut out, format_args!("{}th", 4 + dice.roll(17))),
            "hour" => write_to(&mut out, format_args!("{}:{}0", 5 + dice.roll(4), 3 * dice.roll(2))),
            _ => write_to(&mut out, format_args!("{}", 7 + dice.roll(480))),
        }
        if begins_sentence {
            let filled = out.split_off(begin);
            out.push_str(&capitalise(&filled));
        }
        rest = after;
    }
    out.push_str(rest);
    capitalise(&out)
}

fn write_to(out: &mut String, what: std::fmt::Arguments<'_>) {
    let _ = out.write_fmt(what);
}

fn capitalise(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map_or_else(String::new, |first| first.to_uppercase().chain(chars).collect())
}

/// A post.
pub fn post(dice: &mut impl Dice) -> String {
    let pattern = pick(dice, &POSTS);
    fill(dice, pattern)
}

/// An answer to one.
pub fn reply(dice: &mut impl Dice) -> String {
    let pattern = pick(dice, &REPLIES);
    fill(dice, pattern)
}

/// A word with a post that is passed on.
pub fn passing_on(dice: &mut impl Dice) -> String {
    let pattern = pick(dice, &PASSING_ON);
    fill(dice, pattern)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_differ_and_have_no_gaps() {
        let mut state = 1_u64;
        let mut dice = move || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            state >> 33
        };
        let texts: std::collections::HashSet<String> = (0..1_000).map(|_| post(&mut dice)).collect();
        assert!(texts.len() > 900, "{}", texts.len());
        let others = (0..100).flat_map(|_| [reply(&mut dice), passing_on(&mut dice)]).collect::<Vec<_>>();
        for text in texts.iter().chain(&others) {
            assert!(!text.contains(['{', '}']) && !text.is_empty(), "{text}");
            for sentence in text.split(". ").flat_map(|part| part.split("? ")) {
                assert!(!sentence.starts_with(char::is_lowercase), "{text}");
            }
        }
    }
}
