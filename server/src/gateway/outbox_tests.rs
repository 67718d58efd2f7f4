use std::cell::RefCell;

use proptest::prelude::*;

use super::*;

/// A socket that takes so many bytes with each call and keeps them.
#[derive(Default)]
struct Socket {
    takes: RefCell<VecDeque<usize>>,
    got: RefCell<Vec<u8>>,
}

impl TryWrite for Socket {
    fn try_write(&self, pieces: &[IoSlice<'_>]) -> io::Result<usize> {
        let room = self.takes.borrow_mut().pop_front().unwrap_or(0);
        let all: Vec<u8> = pieces.iter().flat_map(|piece| piece.iter().copied()).collect();
        let taken = room.min(all.len());
        self.got.borrow_mut().extend(&all[..taken]);
        if taken == 0 { Err(io::ErrorKind::WouldBlock.into()) } else { Ok(taken) }
    }
}

/// A frame that can be told from others and from its pieces: its length, then its number.
fn frame(number: u8, len: u8) -> Vec<u8> {
    let mut out = vec![len];
    out.extend(std::iter::repeat_n(number, usize::from(len)));
    out
}

fn frames(mut bytes: &[u8]) -> Vec<u8> {
    let mut seen = Vec::new();
    while let Some((len, rest)) = bytes.split_first() {
        let (payload, rest) = rest.split_at(usize::from(*len));
        assert!(payload.iter().all(|byte| *byte == payload[0]), "a frame torn apart");
        seen.push(payload[0]);
        bytes = rest;
    }
    seen
}

proptest! {
    /// However the socket takes its bytes, whole frames arrive in order; replies before what is held; of pongs that have
    /// to wait the latest.
    #[test]
    fn frames_stay_whole_and_in_order(
        steps in proptest::collection::vec((0u8..6, 1u8..40), 1..60),
        takes in proptest::collection::vec(0usize..60, 0..80),
        hold: bool,
    ) {
        let socket = Socket { takes: RefCell::new(takes.into()), ..Socket::default() };
        let mut out = Outbox::default();
        if hold {
            out.hold();
        }
        let (mut sent, mut replies, mut pongs, mut cleared) = (Vec::new(), Vec::new(), Vec::new(), false);
        for (number, (what, len)) in (1u8..200).zip(steps) {
            match what {
                0 | 1 => {
                    out.send(&socket, &frame(number, len).into(), 1 << 20, 0);
                    sent.push(number);
                }
                2 => {
                    let bytes = frame(number, len);
                    let shared = Bytes::copy_from_slice(&bytes[1..]);
                    out.send_parts(&socket, (&bytes[..1], &shared, b""), 1 << 20, 0);
                    sent.push(number);
                }
                3 => {
                    out.reply(&socket, frame(number, len), 1 << 20, 0);
                    replies.push(number);
                }
                4 => {
                    out.pong(&socket, frame(number, len), 1 << 20, 0);
                    pongs.push(number);
                }
                _ if len == 1 => {
                    out.clear();
                    cleared = true;
                }
                _ => { out.flush(&socket, 0); }
            }
        }
        out.release(&socket, 0);
        socket.takes.replace(std::iter::repeat_n(1000, 500).collect());
        prop_assert_eq!(out.flush(&socket, 0), Sent::Written);
        prop_assert_eq!(out.waiting(), 0);
        let seen = frames(&socket.got.borrow());
        let of = |list: &[u8]| seen.iter().copied().filter(|it| list.contains(it)).collect::<Vec<_>>();
        if cleared {
            prop_assert!(of(&sent).is_sorted() && of(&replies).is_sorted());
        } else {
            prop_assert_eq!(of(&sent), sent);
            prop_assert_eq!(of(&replies), replies);
            prop_assert_eq!(of(&pongs).last().copied(), pongs.last().copied());
        }
    }
}

#[test]
fn more_than_may_wait_is_refused() {
    let (socket, mut out) = (Socket::default(), Outbox::default());
    let frame = Bytes::from(vec![0u8; 100]);
    assert_eq!(out.send(&socket, &frame, 300, 7), Sent::Waits);
    assert_eq!(out.send(&socket, &frame, 300, 8), Sent::Waits);
    assert_eq!(out.send(&socket, &frame, 300, 9), Sent::Full);
    assert_eq!((out.waiting(), out.blocked_since()), (264, Some(7)));
}
