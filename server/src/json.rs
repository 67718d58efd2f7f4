//! JSON that apps bring and we only carry: kept as text, checked for what would hurt whoever reads it.

/// How deep carried JSON may be nested. Readers in other languages recurse.
pub const MAX_DEPTH: usize = 64;

/// Without the white space between tokens. Frames of the realtime protocol end at a newline, so carried JSON has none.
/// The text must be valid JSON.
pub fn compact(json: &str) -> String {
    let mut out = String::with_capacity(json.len());
    let (mut in_string, mut escaped) = (false, false);
    for c in json.chars() {
        if in_string {
            in_string = escaped || c != '"';
            escaped = !escaped && c == '\\';
        } else if c == '"' {
            in_string = true;
        } else if matches!(c, ' ' | '\n' | '\r' | '\t') {
            continue;
        }
        out.push(c);
    }
    out
}

/// How deep a valid JSON text is nested.
pub fn depth(json: &str) -> usize {
    let (mut in_string, mut escaped) = (false, false);
    let (mut depth, mut deepest) = (0_usize, 0);
    for b in json.bytes() {
        if in_string {
            in_string = escaped || b != b'"';
            escaped = !escaped && b == b'\\';
        } else {
            match b {
                b'"' => in_string = true,
                b'[' | b'{' => {
                    depth += 1;
                    deepest = deepest.max(depth);
                }
                b']' | b'}' => depth = depth.saturating_sub(1),
                _ => {}
            }
        }
    }
    deepest
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn strings_keep_their_spaces_and_escapes() {
        assert_eq!(compact("{ \"a b\" :\n [ 1 , \"\\\" x \\\\\" ] }"), "{\"a b\":[1,\"\\\" x \\\\\"]}");
        assert_eq!((depth("1"), depth("[{\"[[\":[]}]")), (0, 3));
    }

    proptest! {
        /// Compacting changes nothing but white space.
        #[test]
        fn the_value_stays(text in "[a-z \"\\\\\n\t{}\\[\\]]{0,40}", number in any::<f64>()) {
            let value = serde_json::json!({ "k y": [text, number, null, { "n": true }] });
            let pretty = serde_json::to_string_pretty(&value).unwrap();
            prop_assert_eq!(compact(&pretty), serde_json::to_string(&value).unwrap());
        }
    }
}
