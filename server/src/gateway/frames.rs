//! Frames of RFC 6455 as a server writes them. Pure.

use super::codec::{BINARY, CLOSE, PING, PONG, TEXT};

/// A text frame's head, for a payload of `len` bytes; the array and how much of it counts.
pub fn text_head(len: usize) -> ([u8; 10], usize) {
    head(TEXT, len)
}

pub(super) fn head(opcode: u8, len: usize) -> ([u8; 10], usize) {
    let mut out = [0u8; 10];
    out[0] = 0x80 | opcode;
    let bytes = (len as u64).to_be_bytes();
    match len {
        0..=125 => {
            out[1] = bytes[7];
            (out, 2)
        }
        126..=0xffff => {
            out[1] = 126;
            out[2..4].copy_from_slice(&bytes[6..]);
            (out, 4)
        }
        _ => {
            out[1] = 127;
            out[2..10].copy_from_slice(&bytes);
            (out, 10)
        }
    }
}

fn frame(out: &mut Vec<u8>, opcode: u8, payload: &[u8]) {
    let (head, len) = head(opcode, payload.len());
    out.reserve(len + payload.len());
    out.extend_from_slice(&head[..len]);
    out.extend_from_slice(payload);
}

/// Appends a text frame.
pub fn text(out: &mut Vec<u8>, payload: &[u8]) {
    frame(out, TEXT, payload);
}

/// Appends a binary frame.
pub fn binary(out: &mut Vec<u8>, payload: &[u8]) {
    frame(out, BINARY, payload);
}

/// Appends a ping without a payload.
pub fn ping(out: &mut Vec<u8>) {
    frame(out, PING, b"");
}

/// Appends a pong.
pub fn pong(out: &mut Vec<u8>, payload: &[u8]) {
    frame(out, PONG, payload);
}

/// Appends a close frame. A reason longer than fits is cut.
pub fn close(out: &mut Vec<u8>, code: u16, reason: &str) {
    let mut payload = code.to_be_bytes().to_vec();
    let mut end = reason.len().min(123);
    while !reason.is_char_boundary(end) {
        end -= 1;
    }
    payload.extend_from_slice(&reason.as_bytes()[..end]);
    frame(out, CLOSE, &payload);
}

/// Appends an empty close frame, the answer to one.
pub fn close_empty(out: &mut Vec<u8>) {
    frame(out, CLOSE, b"");
}
