//! Bytes on a TCP connection, written by hand: for everything a decent client would never send.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

const ANSWER_LIMIT: Duration = Duration::from_secs(5);
/// Any four bytes do; servers may not depend on them.
const MASK: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];

/// A TCP connection with what was read and not yet used.
pub struct Wire {
    stream: TcpStream,
    unread: Vec<u8>,
}

/// The head of an HTTP answer.
#[derive(Debug)]
pub struct Head {
    /// The status code.
    pub status: u16,
    /// The head as text, lower case.
    pub text: String,
}

impl Head {
    /// A header's value, lower case.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.text
            .lines()
            .filter_map(|line| line.split_once(": "))
            .find(|(n, _)| *n == name)
            .map(|(_, value)| value)
    }
}

/// A frame as it came.
#[derive(Debug, PartialEq, Eq)]
pub struct Frame {
    /// The opcode.
    pub opcode: u8,
    /// The payload.
    pub payload: Vec<u8>,
}

/// A client frame: `first` is FIN, RSV and opcode.
pub fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut bytes = frame_head(first, payload.len() as u64);
    bytes.extend(payload.iter().enumerate().map(|(i, b)| b ^ MASK[i % 4]));
    bytes
}

/// Only the head of a client frame that claims `length`.
pub fn frame_head(first: u8, length: u64) -> Vec<u8> {
    let mut bytes = vec![first];
    match (u8::try_from(length), u16::try_from(length)) {
        (Ok(short @ 0..=125), _) => bytes.push(0x80 | short),
        (_, Ok(medium)) => {
            bytes.push(0x80 | 0x7e);
            bytes.extend(medium.to_be_bytes());
        }
        _ => {
            bytes.push(0x80 | 0x7f);
            bytes.extend(length.to_be_bytes());
        }
    }
    bytes.extend(MASK);
    bytes
}

/// A client frame without its mask, which the protocol forbids.
pub fn unmasked(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut bytes = vec![first, u8::try_from(payload.len()).expect("short")];
    bytes.extend(payload);
    bytes
}

/// The upgrade request, with the given lines in place of or beside the usual ones.
pub fn upgrade(path: &str, host: &str, change: &[(&str, Option<&str>)]) -> Vec<u8> {
    let mut lines = vec![
        ("Host", host),
        ("Upgrade", "websocket"),
        ("Connection", "Upgrade"),
        ("Sec-WebSocket-Version", "13"),
        ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="),
    ];
    for (name, value) in change {
        lines.retain(|(n, _)| n != name || value.is_some_and(|v| v.starts_with('+')));
        if let Some(value) = value {
            lines.push((name, value.trim_start_matches('+')));
        }
    }
    let lines: Vec<String> = lines.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    format!("GET {path} HTTP/1.1\r\n{}\r\n", lines.concat()).into_bytes()
}

impl Wire {
    /// Connects.
    pub async fn open(address: &str) -> Self {
        let stream = TcpStream::connect(address).await.expect("the server accepts");
        stream.set_nodelay(true).expect("a socket");
        Self { stream, unread: Vec::new() }
    }

    /// The same, from this address of ours.
    pub async fn open_from(source: &str, address: &str) -> Self {
        let socket = tokio::net::TcpSocket::new_v4().expect("a socket");
        socket.bind(format!("{source}:0").parse().expect("an address")).expect("an address of ours");
        let stream = socket.connect(address.parse().expect("an address")).await.expect("the server accepts");
        stream.set_nodelay(true).expect("a socket");
        Self { stream, unread: Vec::new() }
    }

    /// Connects and upgrades to a WebSocket at `path`.
    pub async fn websocket(address: &str, path: &str) -> Self {
        Self::open(address).await.upgraded(address, path).await
    }

    /// The same, with a receive buffer as small as the system allows.
    pub async fn narrow_websocket(address: &str, path: &str) -> Self {
        let socket = tokio::net::TcpSocket::new_v4().expect("a socket");
        socket.set_recv_buffer_size(4096).expect("a socket");
        let stream = socket.connect(address.parse().expect("an address")).await.expect("the server accepts");
        Self { stream, unread: Vec::new() }.upgraded(address, path).await
    }

    async fn upgraded(self, address: &str, path: &str) -> Self {
        let mut wire = self;
        wire.write(&upgrade(path, address, &[])).await;
        let head = wire.head().await;
        assert_eq!(head.status, 101, "{}", head.text);
        wire
    }

    /// Writes; a connection that the other side has closed is not an error here.
    pub async fn write(&mut self, bytes: &[u8]) {
        let _ = self.stream.write_all(bytes).await;
    }

    /// Ends the writing half.
    pub async fn finish(&mut self) {
        let _ = self.stream.shutdown().await;
    }

    async fn fill(&mut self) -> bool {
        let mut buffer = [0; 4096];
        let read = tokio::time::timeout(ANSWER_LIMIT, self.stream.read(&mut buffer)).await;
        match read.expect("an answer in time") {
            Ok(0) | Err(_) => false,
            Ok(n) => {
                self.unread.extend(&buffer[..n]);
                true
            }
        }
    }

    /// Reads the head of an answer; status 0 if the connection ended without one.
    pub async fn head(&mut self) -> Head {
        loop {
            if let Some(end) = self.unread.windows(4).position(|w| w == b"\r\n\r\n") {
                let bytes: Vec<u8> = self.unread.drain(..end + 4).collect();
                let text = String::from_utf8_lossy(&bytes).to_lowercase();
                let status = text.split(' ').nth(1).and_then(|s| s.parse().ok()).unwrap_or(0);
                return Head { status, text };
            }
            if !self.fill().await {
                return Head { status: 0, text: String::from_utf8_lossy(&self.unread).into_owned() };
            }
        }
    }

    /// Reads one frame; `None` at the end of the connection. The server's frames must not be masked.
    pub async fn frame(&mut self) -> Option<Frame> {
        while self.unread.len() < 2 {
            if !self.fill().await {
                return None;
            }
        }
        assert_eq!(self.unread[1] & 0x80, 0, "a server does not mask");
        let (head, length) = loop {
            let long = |at: usize, n: usize| {
                let bytes = self.unread.get(at..at + n)?;
                Some(bytes.iter().fold(0, |sum, b| sum << 8 | usize::from(*b)))
            };
            let found = match self.unread[1] {
                126 => long(2, 2).map(|n| (4, n)),
                127 => long(2, 8).map(|n| (10, n)),
                short => Some((2, usize::from(short))),
            };
            if let Some((head, length)) = found.filter(|(head, length)| self.unread.len() >= head + length) {
                break (head, length);
            }
            if !self.fill().await {
                return None;
            }
        };
        let bytes: Vec<u8> = self.unread.drain(..head + length).collect();
        Some(Frame { opcode: bytes[0] & 15, payload: bytes[head..].to_vec() })
    }

    /// Reads to the close frame and gives its code (1005 if it has none); `None` if the connection ended without.
    pub async fn close_code(&mut self) -> Option<u16> {
        while let Some(frame) = self.frame().await {
            if frame.opcode == 8 {
                return Some(frame.payload.get(..2).map_or(1005, |c| u16::from_be_bytes([c[0], c[1]])));
            }
        }
        None
    }

    /// Waits until the other side has closed the TCP connection.
    pub async fn ended(&mut self, limit: Duration) -> bool {
        let mut buffer = [0; 4096];
        let end = async { while matches!(self.stream.read(&mut buffer).await, Ok(n) if n > 0) {} };
        tokio::time::timeout(limit, end).await.is_ok()
    }

    /// The stream itself.
    pub fn stream(&self) -> &TcpStream {
        &self.stream
    }
}
