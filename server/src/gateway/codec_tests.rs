use proptest::prelude::*;

use super::*;
use crate::gateway::frames::{head, text, text_head};

const RULES: Rules = Rules { message_bytes: 300, fragments: 8, binary: true };

/// What a decoder made of some bytes, owned.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Seen {
    Text(String),
    Binary(Vec<u8>),
    Ping(Vec<u8>),
    Pong,
    Close(Option<u16>),
    Bad(Violation),
}

fn own(event: &Event<'_>) -> Seen {
    match event {
        Event::Text(text) => Seen::Text((*text).to_owned()),
        Event::Binary(bytes) => Seen::Binary(bytes.to_vec()),
        Event::Ping(bytes) => Seen::Ping(bytes.to_vec()),
        Event::Pong => Seen::Pong,
        Event::Close(code) => Seen::Close(*code),
    }
}

fn decode(chunks: &[&[u8]], rules: Rules) -> (Vec<Seen>, Decoder) {
    let (mut decoder, mut seen) = (Decoder::default(), Vec::new());
    for chunk in chunks {
        let mut owned = chunk.to_vec();
        let mut at = 0;
        loop {
            match decoder.next(&mut owned, &mut at, rules, 5) {
                Ok(Some(event)) => seen.push(own(&event)),
                Ok(None) => break,
                Err(violation) => {
                    seen.push(Seen::Bad(violation));
                    return (seen, decoder);
                }
            }
        }
    }
    (seen, decoder)
}

fn client_frame(fin: bool, opcode: u8, payload: &[u8], mask: [u8; 4]) -> Vec<u8> {
    let (head, len) = head(opcode, payload.len());
    let mut out = head[..len].to_vec();
    out[0] = u8::from(fin) << 7 | opcode;
    out[1] |= 0x80;
    out.extend(mask);
    out.extend(payload.iter().zip(mask.iter().cycle()).map(|(byte, key)| byte ^ key));
    out
}

fn f(fin: bool, opcode: u8, payload: &[u8]) -> Vec<u8> {
    client_frame(fin, opcode, payload, [1, 2, 3, 4])
}

fn one(bytes: &[u8]) -> Seen {
    decode(&[bytes], RULES).0.pop().unwrap()
}

#[test]
fn every_violation_has_its_code() {
    let code = |bytes: &[u8]| match one(bytes) {
        Seen::Bad(violation) => violation.close().0,
        other => panic!("{other:?}"),
    };
    assert_eq!(code(&[0x81, 0x01, b'a']), 1002, "unmasked");
    for rsv in [0x40, 0x20, 0x10] {
        assert_eq!(code(&[0x81 | rsv, 0x80]), 1002, "reserved bits");
    }
    for opcode in [3, 7, 11, 15] {
        assert_eq!(code(&f(true, opcode, b"")), 1002, "opcode {opcode}");
    }
    assert_eq!(code(&f(true, PING, &[0; 126])), 1002, "control frame too long");
    assert_eq!(code(&f(false, PING, b"")), 1002, "control frame in pieces");
    assert_eq!(code(&f(true, CONTINUATION, b"")), 1002, "nothing to continue");
    assert_eq!(code(&[f(false, TEXT, b"a"), f(true, TEXT, b"b")].concat()), 1002, "message in message");
    for text in [&b"\xc0\xaf"[..], b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"\xe4", b"a\xff"] {
        assert_eq!(code(&f(true, TEXT, text)), 1007, "{text:?}");
    }
    assert_eq!(code(&[f(false, TEXT, b"\xce"), f(true, 0, b"a")].concat()), 1007, "across frames");
}

#[test]
fn closes_lengths_and_limits() {
    let close = |payload: &[u8]| one(&f(true, CLOSE, payload));
    assert_eq!(close(b""), Seen::Close(None));
    assert_eq!(close(b"\x03\xe8bye"), Seen::Close(Some(1000)));
    assert_eq!(close(b"\x03"), Seen::Bad(Violation::Protocol("a close code has two bytes")));
    assert_eq!(close(b"\x03\xe8\xff"), Seen::Bad(Violation::Utf8));
    for code in [0u16, 999, 1004, 1005, 1006, 1015, 1016, 2999, 5000, 65535] {
        assert!(matches!(close(&code.to_be_bytes()), Seen::Bad(Violation::Protocol(_))), "{code}");
    }
    for code in [1001u16, 1003, 1007, 1012, 1014, 3000, 4999] {
        assert_eq!(close(&code.to_be_bytes()), Seen::Close(Some(code)));
    }
    let claims = |len: u64| [&[0x81, 0xff][..], &len.to_be_bytes()].concat();
    for len in [1 << 40, 1 << 63, u64::MAX] {
        let (seen, decoder) = decode(&[&claims(len)], RULES);
        assert_eq!(seen, [Seen::Bad(Violation::TooBig)], "at the length, before the mask");
        assert!(decoder.partial.is_none());
    }
    assert_eq!(one(&claims(5)), Seen::Bad(Violation::Protocol("a length is written in the shortest way")));
    assert_eq!(one(&f(true, TEXT, &[b'a'; 301])), Seen::Bad(Violation::TooBig));
    assert_eq!(one(&f(true, TEXT, &[b'a'; 300])), Seen::Text("a".repeat(300)));
    let pieces = |count: usize| {
        let mut all = f(false, TEXT, b"");
        (2..count).for_each(|_| all.extend(f(false, CONTINUATION, b"")));
        all.extend(f(true, CONTINUATION, b""));
        one(&all)
    };
    assert_eq!((pieces(8), pieces(9)), (Seen::Text(String::new()), Seen::Bad(Violation::TooBig)));
    let json = Rules { binary: false, ..RULES };
    assert_eq!(decode(&[&f(true, BINARY, b"")], json).0, [Seen::Bad(Violation::Unacceptable)]);
}

#[test]
fn bad_text_is_refused_before_its_end() {
    let frame = f(false, TEXT, b"ok\xf4\x90....");
    let (seen, _) = decode(&[&frame[..6 + 4]], RULES);
    assert_eq!(seen, [Seen::Bad(Violation::Utf8)]);
}

#[test]
fn nothing_is_kept_after_a_message() {
    let bytes = [f(false, TEXT, b"a"), f(true, PING, b"p"), f(true, 0, b"b")].concat();
    for cut in 0..bytes.len() {
        let (first, second) = bytes.split_at(cut);
        let (seen, mut decoder) = decode(&[first, second], RULES);
        assert_eq!(seen, [Seen::Ping(b"p".to_vec()), Seen::Text("ab".to_owned())], "cut at {cut}");
        assert_eq!(decoder.next(&mut [], &mut 0, RULES, 0), Ok(None));
        assert!(decoder.partial.is_none(), "cut at {cut}");
    }
}

fn frames() -> impl Strategy<Value = Vec<u8>> {
    let opcode = prop_oneof![8 => 0u8..3, 4 => 8u8..11, 1 => 0u8..16];
    let payload = prop_oneof![
        6 => "[aé€😀]{0,40}".prop_map(String::into_bytes),
        2 => proptest::collection::vec(any::<u8>(), 0..140),
        1 => Just(vec![0x03, 0xe8]),
    ];
    let frame = (any::<bool>(), opcode, payload, any::<[u8; 4]>())
        .prop_map(|(fin, opcode, payload, mask)| client_frame(fin || opcode >= 8, opcode, &payload, mask));
    let junk = proptest::collection::vec(any::<u8>(), 0..6);
    let piece = prop_oneof![12 => frame, 1 => junk];
    proptest::collection::vec(piece, 0..12).prop_map(|all| all.concat())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1024))]

    /// The same bytes mean the same, however they arrive.
    #[test]
    fn chunks_change_nothing(bytes in frames(), cuts in proptest::collection::vec(1usize..40, 0..60)) {
        let whole = decode(&[&bytes], RULES).0;
        let (mut chunks, mut rest) = (Vec::new(), bytes.as_slice());
        for cut in cuts {
            let (chunk, after) = rest.split_at(cut.min(rest.len()));
            chunks.push(chunk);
            rest = after;
        }
        chunks.push(rest);
        prop_assert_eq!(&decode(&chunks, RULES).0, &whole);
        let single: Vec<_> = bytes.chunks(1).collect();
        prop_assert_eq!(&decode(&single, RULES).0, &whole);
    }

    /// What is written reads back, and lengths are right at the edges.
    #[test]
    fn messages_come_back(len in prop_oneof![0usize..300, 65_000usize..66_000], mask: [u8; 4]) {
        let rules = Rules { message_bytes: 70_000, ..RULES };
        let payload = vec![b'x'; len];
        let bytes = client_frame(true, TEXT, &payload, mask);
        prop_assert_eq!(decode(&[&bytes], rules).0, [Seen::Text("x".repeat(len))]);
        let mut out = Vec::new();
        text(&mut out, &payload);
        let (head, head_len) = text_head(len);
        prop_assert_eq!(&out[..head_len], &head[..head_len]);
        prop_assert_eq!(out.len(), head_len + len);
    }
}
