//! Frames of RFC 6455 as a server reads them. Pure.
//!
//! Frames are read from whatever a read of the socket gave, in place: a frame that is whole costs no memory and no copy
//! (save for its mask). Only what is cut off is kept, in a box that goes again with the end of the message.

use super::utf8::Utf8;

/// Bounds and rules for what a client sends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rules {
    /// Bytes of a message.
    pub message_bytes: usize,
    /// Frames of a message.
    pub fragments: u32,
    /// Whether binary messages are taken.
    pub binary: bool,
}

/// Something a client sent, whole.
#[derive(Debug, PartialEq, Eq)]
pub enum Event<'a> {
    /// A text message.
    Text(&'a str),
    /// A binary message.
    Binary(&'a [u8]),
    /// To be answered with a pong of the same bytes.
    Ping(&'a [u8]),
    /// The answer to a ping.
    Pong,
    /// The end, with its code if there was one.
    Close(Option<u16>),
}

/// What a client did wrong, and with it the code to close with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Violation {
    /// Against the protocol.
    Protocol(&'static str),
    /// A kind of message that is not taken.
    Unacceptable,
    /// Text that is not UTF-8.
    Utf8,
    /// Larger than allowed, or of more frames.
    TooBig,
}

impl Violation {
    /// Close code and reason.
    pub fn close(self) -> (u16, &'static str) {
        match self {
            Self::Protocol(why) => (1002, why),
            Self::Unacceptable => (1003, "binary messages are not taken here"),
            Self::Utf8 => (1007, "text is not UTF-8"),
            Self::TooBig => (1009, "message too big"),
        }
    }
}

pub(super) const CONTINUATION: u8 = 0;
pub(super) const TEXT: u8 = 1;
pub(super) const BINARY: u8 = 2;
pub(super) const CLOSE: u8 = 8;
pub(super) const PING: u8 = 9;
pub(super) const PONG: u8 = 10;

/// A frame's head.
#[derive(Debug, Clone, Copy)]
struct FrameHead {
    fin: bool,
    opcode: u8,
    mask: [u8; 4],
    len: usize,
}

impl FrameHead {
    fn is_control(self) -> bool {
        self.opcode >= CLOSE
    }
}

/// What is kept between two reads.
#[derive(Debug, Default)]
struct Partial {
    /// A head that is cut off.
    head: [u8; 14],
    head_len: usize,
    /// A frame whose payload is cut off, and how much of it came.
    frame: Option<(FrameHead, usize)>,
    /// Payload of a control frame that is cut off.
    control: Vec<u8>,
    /// A message of several frames, or cut off: text or binary.
    message: Option<u8>,
    payload: Vec<u8>,
    fragments: u32,
    utf8: Utf8,
    /// When it began.
    since_ms: u64,
    /// The message or control frame that was given last is in here and is over.
    given: bool,
}

/// Reads frames for one connection.
#[derive(Debug, Default)]
pub struct Decoder {
    partial: Option<Box<Partial>>,
}

#[expect(clippy::mut_mut, reason = "a cursor over bytes that are unmasked in place")]
impl Decoder {
    /// Since when a message is incomplete.
    pub fn incomplete_since(&self) -> Option<u64> {
        self.partial.as_ref().map(|partial| partial.since_ms)
    }

    /// Reads the next message or control frame from `input` at `at`, which is moved past what was read. `None`: all of
    /// it was read. After a violation nothing more can be read.
    pub fn next<'a>(
        &'a mut self,
        input: &'a mut [u8],
        at: &mut usize,
        rules: Rules,
        now_ms: u64,
    ) -> Result<Option<Event<'a>>, Violation> {
        let len = input.len();
        let mut rest = input.get_mut(*at..).unwrap_or_default();
        let event = self.read(&mut rest, rules, now_ms);
        *at = len - rest.len();
        event
    }

    fn read<'a>(
        &'a mut self,
        input: &mut &'a mut [u8],
        rules: Rules,
        now_ms: u64,
    ) -> Result<Option<Event<'a>>, Violation> {
        if self.partial.as_ref().is_some_and(|partial| partial.given) {
            self.forget();
        }
        loop {
            if input.is_empty() {
                self.tidy();
                return Ok(None);
            }
            let Some((head, had)) = self.head(input, rules, now_ms)? else { return Ok(None) };
            let missing = head.len - had;
            let take = missing.min(input.len());
            let (payload, rest) = std::mem::take(input).split_at_mut(take);
            *input = rest;
            unmask(payload, head.mask, had);
            let whole = take == missing;
            if had == 0
                && whole
                && self.partial.as_ref().is_none_or(|p| head.is_control() && p.frame.is_none())
            {
                if head.is_control() {
                    return control(head.opcode, payload).map(Some);
                }
                if head.fin {
                    return data(head.opcode, payload).map(Some);
                }
            }
            if self.keep(head, had, payload, rules, now_ms)? {
                self.partial(now_ms).given = true;
                return self.give(head);
            }
        }
    }

    /// The head of the frame that `input` is at, and how much of its payload came before.
    fn head(
        &mut self,
        input: &mut &mut [u8],
        rules: Rules,
        now_ms: u64,
    ) -> Result<Option<(FrameHead, usize)>, Violation> {
        if let Some(partial) = &mut self.partial {
            if let Some(frame) = partial.frame {
                return Ok(Some(frame));
            }
            if partial.head_len > 0 {
                return Self::rest_of_head(partial, input, rules);
            }
        }
        let message = self.partial.as_deref().map_or((None, 0, 0), Partial::message);
        if let Some((head, len)) = parse_head(input, message, rules)? {
            *input = std::mem::take(input).split_at_mut(len).1;
            return Ok(Some((head, 0)));
        }
        let partial = self.partial(now_ms);
        partial.head_len = input.len();
        partial.head[..input.len()].copy_from_slice(input);
        *input = &mut [];
        Ok(None)
    }

    /// Goes on with a head that was cut off.
    fn rest_of_head(
        partial: &mut Partial,
        input: &mut &mut [u8],
        rules: Rules,
    ) -> Result<Option<(FrameHead, usize)>, Violation> {
        let had = partial.head_len;
        let more = input.len().min(partial.head.len() - had);
        partial.head[had..had + more].copy_from_slice(&input[..more]);
        let message = partial.message();
        if let Some((head, len)) = parse_head(&partial.head[..had + more], message, rules)? {
            *input = std::mem::take(input).split_at_mut(len - had).1;
            partial.head_len = 0;
            return Ok(Some((head, 0)));
        }
        partial.head_len = had + more;
        *input = &mut [];
        Ok(None)
    }

    fn partial(&mut self, now_ms: u64) -> &mut Partial {
        self.partial.get_or_insert_with(|| Box::new(Partial { since_ms: now_ms, ..Partial::default() }))
    }

    /// Keeps a piece of payload; `true`: with it something is whole.
    fn keep(
        &mut self,
        head: FrameHead,
        had: usize,
        payload: &[u8],
        rules: Rules,
        now_ms: u64,
    ) -> Result<bool, Violation> {
        let partial = self.partial(now_ms);
        let whole = had + payload.len() == head.len;
        partial.frame = (!whole).then_some((head, had + payload.len()));
        if head.is_control() {
            partial.control.extend_from_slice(payload);
            return Ok(whole);
        }
        if had == 0 && partial.message.is_none() {
            partial.message = Some(head.opcode);
        }
        if whole {
            partial.fragments += 1;
        }
        if partial.payload.is_empty() && head.fin {
            partial.payload.reserve_exact(head.len.min(rules.message_bytes));
        }
        partial.payload.extend_from_slice(payload);
        if partial.message == Some(TEXT) {
            partial.utf8.feed(payload).map_err(|()| Violation::Utf8)?;
            if whole && head.fin && !partial.utf8.is_complete() {
                return Err(Violation::Utf8);
            }
        }
        Ok(whole && head.fin)
    }

    /// What [`Decoder::keep`] made whole.
    fn give(&self, head: FrameHead) -> Result<Option<Event<'_>>, Violation> {
        let Some(partial) = &self.partial else { return Ok(None) };
        if head.is_control() {
            return control(head.opcode, &partial.control).map(Some);
        }
        match partial.message {
            Some(TEXT) => std::str::from_utf8(&partial.payload)
                .map(|t| Some(Event::Text(t)))
                .map_err(|_| Violation::Utf8),
            _ => Ok(Some(Event::Binary(&partial.payload))),
        }
    }

    /// Drops what was given.
    fn forget(&mut self) {
        let Some(partial) = &mut self.partial else { return };
        partial.given = false;
        if partial.control.capacity() > 0 {
            // A control frame was given, perhaps in the midst of a message.
            partial.control = Vec::new();
        } else {
            partial.message = None;
            partial.payload = Vec::new();
            partial.fragments = 0;
            partial.utf8 = Utf8::default();
        }
        self.tidy();
    }

    /// Drops the box if nothing is cut off.
    fn tidy(&mut self) {
        let idle = |p: &Partial| !p.given && p.head_len == 0 && p.frame.is_none() && p.message.is_none();
        if self.partial.as_deref().is_some_and(idle) {
            self.partial = None;
        }
    }
}

impl Partial {
    /// The message under way: its kind, bytes and frames.
    fn message(&self) -> (Option<u8>, usize, u32) {
        (self.message, self.payload.len(), self.fragments)
    }
}

/// Reads a head from the front of `bytes`: the head and its length. `None`: more is needed.
fn parse_head(
    bytes: &[u8],
    (message, message_len, fragments): (Option<u8>, usize, u32),
    rules: Rules,
) -> Result<Option<(FrameHead, usize)>, Violation> {
    let &[first, second, ref rest @ ..] = bytes else { return Ok(None) };
    let (fin, opcode, short_len) = (first & 0x80 != 0, first & 0x0f, second & 0x7f);
    if first & 0x70 != 0 {
        return Err(Violation::Protocol("reserved bits"));
    }
    if second & 0x80 == 0 {
        return Err(Violation::Protocol("a client's frames are masked"));
    }
    match opcode {
        CONTINUATION if message.is_none() => return Err(Violation::Protocol("nothing to continue")),
        TEXT | BINARY if message.is_some() => return Err(Violation::Protocol("a message within a message")),
        BINARY if !rules.binary => return Err(Violation::Unacceptable),
        CLOSE | PING | PONG if !fin || short_len > 125 => {
            return Err(Violation::Protocol("a control frame is one frame of up to 125 bytes"));
        }
        CONTINUATION | TEXT | BINARY | CLOSE | PING | PONG => {}
        _ => return Err(Violation::Protocol("reserved opcode")),
    }
    let len_bytes = match short_len {
        126 => 2,
        127 => 8,
        _ => 0,
    };
    let Some((extended, rest)) = rest.split_at_checked(len_bytes) else { return Ok(None) };
    let len = match short_len {
        126 | 127 => extended.iter().fold(0u64, |len, &byte| len << 8 | u64::from(byte)),
        short => u64::from(short),
    };
    if (short_len == 126 && len < 126) || (short_len == 127 && len <= 0xffff) {
        return Err(Violation::Protocol("a length is written in the shortest way"));
    }
    let is_data = opcode < CLOSE;
    let room = (rules.message_bytes - message_len.min(rules.message_bytes)) as u64;
    if is_data && (len > room || fragments >= rules.fragments) {
        return Err(Violation::TooBig);
    }
    let Some(mask) = rest.first_chunk::<4>() else { return Ok(None) };
    let head =
        FrameHead { fin, opcode, mask: *mask, len: usize::try_from(len).map_err(|_| Violation::TooBig)? };
    Ok(Some((head, 2 + len_bytes + 4)))
}

fn data(opcode: u8, payload: &[u8]) -> Result<Event<'_>, Violation> {
    if opcode == BINARY {
        return Ok(Event::Binary(payload));
    }
    std::str::from_utf8(payload).map(Event::Text).map_err(|_| Violation::Utf8)
}

fn control(opcode: u8, payload: &[u8]) -> Result<Event<'_>, Violation> {
    match (opcode, payload) {
        (PING, payload) => Ok(Event::Ping(payload)),
        (PONG, _) => Ok(Event::Pong),
        (_, []) => Ok(Event::Close(None)),
        (_, [_]) => Err(Violation::Protocol("a close code has two bytes")),
        (_, [high, low, reason @ ..]) => {
            let code = u16::from_be_bytes([*high, *low]);
            if !matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999) {
                return Err(Violation::Protocol("no such close code"));
            }
            std::str::from_utf8(reason).map_err(|_| Violation::Utf8)?;
            Ok(Event::Close(Some(code)))
        }
    }
}

/// Takes the mask off a piece of payload that begins `offset` bytes into it.
fn unmask(payload: &mut [u8], mask: [u8; 4], offset: usize) {
    let mut key = mask;
    key.rotate_left(offset % 4);
    let word = u64::from_ne_bytes([key[0], key[1], key[2], key[3], key[0], key[1], key[2], key[3]]);
    let mut words = payload.chunks_exact_mut(8);
    for chunk in &mut words {
        if let Ok(bytes) = <[u8; 8]>::try_from(&*chunk) {
            chunk.copy_from_slice(&(u64::from_ne_bytes(bytes) ^ word).to_ne_bytes());
        }
    }
    for (byte, key) in words.into_remainder().iter_mut().zip(key.iter().cycle()) {
        *byte ^= key;
    }
}

#[cfg(test)]
#[path = "codec_tests.rs"]
mod tests;
