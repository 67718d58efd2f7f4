//! Reads the head of the first request on a socket. Pure. Strict where sloppy heads are how requests are smuggled past
//! proxies, and with a bound on everything.

use base64::Engine;
use httparse::{EMPTY_HEADER, Header, Request, Status};

/// Most bytes of a head.
pub const MAX_HEAD: usize = 16 << 10;
/// Most header fields.
pub const MAX_HEADERS: usize = 64;
/// Where handshakes of the client protocol come in.
pub const WEBSOCKET_PATH: &str = "/connection/websocket";
/// Where every message is sent back; see `GatewayConfig::echo`.
pub const ECHO_PATH: &str = "/connection/echo";

/// What heads are judged by.
#[derive(Debug, Clone, Copy)]
pub struct Rules<'a> {
    /// Origins besides our own.
    pub allowed_origins: &'a [String],
    /// New sockets are to go elsewhere.
    pub draining: bool,
    /// Whether [`ECHO_PATH`] is there.
    pub echo: bool,
}

/// What came so far.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Head {
    /// More is needed.
    Incomplete,
    /// Answer so and close.
    Refuse(Refusal),
    /// A request for the router, good so far.
    Http,
    /// A WebSocket handshake, accepted. The bytes after the head are frames.
    WebSocket(Upgrade),
}

/// An accepted handshake.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Upgrade {
    /// Bytes of the head.
    pub head_len: usize,
    /// For `Sec-WebSocket-Accept`.
    pub accept: String,
    /// The subprotocol taken of those offered.
    pub subprotocol: Option<&'static str>,
    /// Pings are WebSocket pings, not messages.
    pub frame_ping: bool,
    /// It goes to [`ECHO_PATH`].
    pub echo: bool,
}

/// An answer that ends the connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Refusal {
    /// Status.
    pub status: u16,
    /// Its phrase.
    pub phrase: &'static str,
    /// As in the API's errors.
    pub error: &'static str,
    /// For people.
    pub message: &'static str,
    /// More header fields, each with its CRLF.
    pub headers: &'static str,
    /// Seconds after which to come again; 0: it would not help.
    pub retry_after_s: u64,
    /// The limit that was reached, as metrics name it; empty: the request is at fault.
    pub limit: &'static str,
}

impl Refusal {
    const fn bad(message: &'static str) -> Self {
        Self { status: 400, phrase: "Bad Request", error: "bad_request", message, ..Self::NONE }
    }

    const NONE: Self =
        Self { status: 0, phrase: "", error: "", message: "", headers: "", retry_after_s: 0, limit: "" };

    /// A limit is reached for now.
    const fn busy(retry_after_s: u64, limit: &'static str, message: &'static str) -> Self {
        let (status, phrase, error) = (503, "Service Unavailable", "unavailable");
        Self { status, phrase, error, message, headers: "", retry_after_s, limit }
    }

    /// One address has reached its limit for now.
    const fn too_many(retry_after_s: u64, limit: &'static str, message: &'static str) -> Self {
        let (status, phrase, error) = (429, "Too Many Requests", "rate_limited");
        Self { status, phrase, error, message, headers: "", retry_after_s, limit }
    }

    const TOO_LARGE: Self = Self {
        status: 431,
        phrase: "Request Header Fields Too Large",
        error: "payload_too_large",
        message: "a head has at most 16 KiB and 64 fields",
        ..Self::NONE
    };
    const VERSION: Self = Self {
        status: 426,
        phrase: "Upgrade Required",
        error: "bad_request",
        message: "only WebSocket version 13 is spoken here",
        headers: "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n",
        ..Self::NONE
    };
    const METHOD: Self = Self {
        status: 405,
        phrase: "Method Not Allowed",
        error: "method_not_allowed",
        message: "a WebSocket begins with GET",
        headers: "Allow: GET\r\n",
        ..Self::NONE
    };
    const ORIGIN: Self = Self {
        status: 403,
        phrase: "Forbidden",
        error: "forbidden",
        message: "this Origin may not connect; see server.allowed_origins",
        ..Self::NONE
    };
    /// Plain text where TLS is spoken.
    pub const NO_TLS: Self = Self::bad("this port speaks TLS: use https:// or wss://");
    /// The node goes away.
    pub const DRAINING: Self = Self::busy(1, "draining", "this node is shutting down");
    /// Too many connections.
    pub const FULL: Self = Self::busy(5, "connections", "too many connections");
    /// Too many connections of one address.
    pub const ADDRESS: Self = Self::too_many(10, "address", "too many connections from this address");
    /// Too many connections that have not signed in.
    pub const STRANGERS: Self = Self::busy(1, "unauthenticated", "too many connections are signing in");
    /// Too many handshakes a second.
    pub const HANDSHAKES: Self = Self::busy(1, "handshakes", "too many connections at once");
    /// Too many handshakes of one address.
    pub const ADDRESS_HANDSHAKES: Self =
        Self::too_many(1, "address_handshakes", "too many new connections from this address");
    /// Too much memory is in use.
    pub const MEMORY: Self = Self::busy(5, "memory", "this node is out of memory");
    /// This process has no more file descriptors.
    pub const FILES: Self = Self::busy(5, "files", "this node is out of file descriptors");
    /// The head did not come in time.
    pub const TIMEOUT: Self = Self {
        status: 408,
        phrase: "Request Timeout",
        error: "timeout",
        message: "the request's head took too long",
        ..Self::NONE
    };

    /// The whole answer.
    pub fn response(&self) -> String {
        let body = format!("{{\"error\":\"{}\",\"message\":\"{}\"}}", self.error, self.message);
        let retry = match self.retry_after_s {
            0 => String::new(),
            seconds => format!("Retry-After: {seconds}\r\n"),
        };
        format!(
            "HTTP/1.1 {} {}\r\n{}{retry}Connection: close\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            self.status,
            self.phrase,
            self.headers,
            body.len()
        )
    }
}

impl Upgrade {
    /// The whole answer.
    pub fn response(&self) -> String {
        let subprotocol =
            self.subprotocol.map(|name| format!("Sec-WebSocket-Protocol: {name}\r\n")).unwrap_or_default();
        format!(
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Accept: {}\r\n{subprotocol}\r\n",
            self.accept
        )
    }
}

/// Looks at what came so far.
pub fn inspect(buffer: &[u8], rules: Rules<'_>) -> Head {
    match head_end(buffer) {
        Err(refusal) => Head::Refuse(refusal),
        Ok(None) if buffer.len() >= MAX_HEAD => Head::Refuse(Refusal::TOO_LARGE),
        Ok(None) => Head::Incomplete,
        Ok(Some(end)) if end > MAX_HEAD => Head::Refuse(Refusal::TOO_LARGE),
        Ok(Some(end)) => match judge(buffer.get(..end).unwrap_or_default(), rules) {
            Ok(head) => head,
            Err(refusal) => Head::Refuse(refusal),
        },
    }
}

/// What proxies say about the way of a request whose head is complete.
pub fn forwarded(buffer: &[u8]) -> http::HeaderMap {
    let mut headers = [EMPTY_HEADER; MAX_HEADERS];
    let mut request = Request::new(&mut headers);
    let mut map = http::HeaderMap::new();
    if request.parse(buffer).is_ok() {
        for value in Fields(request.headers).all("x-forwarded-for") {
            if let Ok(value) = http::HeaderValue::from_bytes(value) {
                map.append("x-forwarded-for", value);
            }
        }
    }
    map
}

/// Where the head ends. Lines end in CRLF, none begins with a space, and neither CR nor LF is anywhere else.
fn head_end(buffer: &[u8]) -> Result<Option<usize>, Refusal> {
    let (mut line_start, mut lines) = (0, 0);
    for (at, &byte) in buffer.iter().enumerate() {
        match byte {
            b'\n' if at == 0 || buffer[at - 1] != b'\r' => {
                return Err(Refusal::bad("lines of a head end in CR LF"));
            }
            b'\n' => {
                if at == line_start + 1 && line_start > 0 {
                    return Ok(Some(at + 1));
                }
                line_start = at + 1;
                lines += 1;
                if lines > MAX_HEADERS + 1 {
                    return Err(Refusal::TOO_LARGE);
                }
            }
            _ if at > 0 && buffer[at - 1] == b'\r' => {
                return Err(Refusal::bad("lines of a head end in CR LF"));
            }
            b' ' | b'\t' if at == line_start && at > 0 => {
                return Err(Refusal::bad("a header field is on one line"));
            }
            _ => {}
        }
    }
    Ok(None)
}

fn judge(head: &[u8], rules: Rules<'_>) -> Result<Head, Refusal> {
    let mut headers = [EMPTY_HEADER; MAX_HEADERS];
    let mut request = Request::new(&mut headers);
    match request.parse(head) {
        Ok(Status::Complete(_)) => {}
        Err(httparse::Error::TooManyHeaders) => return Err(Refusal::TOO_LARGE),
        Ok(Status::Partial) | Err(_) => return Err(Refusal::bad("not an HTTP/1.1 request")),
    }
    let fields = Fields(request.headers);
    let is_1_1 = request.version == Some(1);
    check_framing(fields, is_1_1)?;
    let target = request.path.unwrap_or_default();
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let echo = rules.echo && path == ECHO_PATH;
    if path != WEBSOCKET_PATH && !echo {
        return Ok(Head::Http);
    }
    if request.method != Some("GET") {
        return Err(Refusal::METHOD);
    }
    if rules.draining {
        return Err(Refusal::DRAINING);
    }
    let frame_ping = query.split('&').any(|pair| pair == "cf_ws_frame_ping_pong=true");
    let upgrade = handshake(fields, is_1_1, rules)?;
    Ok(Head::WebSocket(Upgrade { head_len: head.len(), frame_ping, echo, ..upgrade }))
}

/// The header fields.
#[derive(Clone, Copy)]
struct Fields<'h>(&'h [Header<'h>]);

impl<'h> Fields<'h> {
    fn all(self, name: &'static str) -> impl Iterator<Item = &'h [u8]> {
        self.0.iter().filter(move |header| header.name.eq_ignore_ascii_case(name)).map(|header| header.value)
    }

    /// The value if the field is there once and is text.
    fn one(self, name: &'static str) -> Result<Option<&'h str>, ()> {
        let mut values = self.all(name);
        match (values.next(), values.next()) {
            (None, _) => Ok(None),
            (Some(value), None) => std::str::from_utf8(value).map(|value| Some(value.trim())).map_err(|_| ()),
            (Some(_), Some(_)) => Err(()),
        }
    }

    /// The items of all lists of that name.
    fn items(self, name: &'static str) -> impl Iterator<Item = &'h str> {
        self.all(name)
            .filter_map(|value| std::str::from_utf8(value).ok())
            .flat_map(|v| v.split(','))
            .map(str::trim)
    }
}

/// Whom the request is for, and where its body ends, have one answer each.
fn check_framing(fields: Fields<'_>, is_1_1: bool) -> Result<(), Refusal> {
    let host = fields.one("host").map_err(|()| Refusal::bad("a request has one Host"))?;
    match host {
        None if is_1_1 => return Err(Refusal::bad("a request has a Host")),
        Some(host) if !is_host(host) => {
            return Err(Refusal::bad("Host is a name or address, perhaps with a port"));
        }
        _ => {}
    }
    let length =
        fields.one("content-length").map_err(|()| Refusal::bad("a request has one Content-Length"))?;
    if let Some(length) = length
        && (length.is_empty() || length.len() > 19 || !length.bytes().all(|b| b.is_ascii_digit()))
    {
        return Err(Refusal::bad("Content-Length is a number"));
    }
    let coding =
        fields.one("transfer-encoding").map_err(|()| Refusal::bad("a request has one Transfer-Encoding"))?;
    match coding {
        Some(_) if length.is_some() => Err(Refusal::bad("either Content-Length or Transfer-Encoding")),
        Some(coding) if !coding.eq_ignore_ascii_case("chunked") || !is_1_1 => {
            Err(Refusal::bad("the only Transfer-Encoding is chunked"))
        }
        _ => Ok(()),
    }
}

fn is_host(host: &str) -> bool {
    let allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_' | b':' | b'[' | b']');
    !host.is_empty() && host.len() <= 255 && host.bytes().all(allowed)
}

fn handshake(fields: Fields<'_>, is_1_1: bool, rules: Rules<'_>) -> Result<Upgrade, Refusal> {
    if !fields.items("upgrade").any(|item| item.eq_ignore_ascii_case("websocket")) {
        return Err(Refusal::VERSION);
    }
    if !is_1_1 || !fields.items("connection").any(|item| item.eq_ignore_ascii_case("upgrade")) {
        return Err(Refusal::bad("an upgrade is HTTP/1.1 and has Connection: Upgrade"));
    }
    let has_body = fields.one("content-length").is_ok_and(|length| length.is_some_and(|l| l != "0"))
        || fields.all("transfer-encoding").next().is_some();
    if has_body {
        return Err(Refusal::bad("an upgrade has no body"));
    }
    match fields.one("sec-websocket-version") {
        Ok(Some("13")) => {}
        Ok(_) => return Err(Refusal::VERSION),
        Err(()) => return Err(Refusal::bad("Sec-WebSocket-Version is there once")),
    }
    let key = fields.one("sec-websocket-key").ok().flatten().filter(|key| is_key(key));
    let Some(key) = key else {
        return Err(Refusal::bad("Sec-WebSocket-Key is 16 bytes in base64, once"));
    };
    check_origin(fields, rules)?;
    let json = "centrifuge-json";
    let subprotocol = fields.items("sec-websocket-protocol").any(|item| item == json).then_some(json);
    let accept = accept_of(key);
    Ok(Upgrade { head_len: 0, accept, subprotocol, frame_ping: false, echo: false })
}

fn is_key(key: &str) -> bool {
    key.len() == 24
        && base64::engine::general_purpose::STANDARD.decode(key).is_ok_and(|bytes| bytes.len() == 16)
}

/// Exact: our own host, or one that is listed. No Origin is not a browser.
fn check_origin(fields: Fields<'_>, rules: Rules<'_>) -> Result<(), Refusal> {
    let origin = match fields.one("origin") {
        Ok(None) => return Ok(()),
        Ok(Some(origin)) => origin,
        Err(()) => return Err(Refusal::ORIGIN),
    };
    let host = fields.one("host").ok().flatten().unwrap_or_default();
    let same = ["http://", "https://"].iter().any(|scheme| origin.strip_prefix(scheme) == Some(host));
    if same || rules.allowed_origins.iter().any(|allowed| allowed == origin) {
        Ok(())
    } else {
        Err(Refusal::ORIGIN)
    }
}

/// The answer to a handshake's key (RFC 6455 §4.2.2).
fn accept_of(key: &str) -> String {
    let mut context = aws_lc_rs::digest::Context::new(&aws_lc_rs::digest::SHA1_FOR_LEGACY_USE_ONLY);
    context.update(key.as_bytes());
    context.update(b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11");
    base64::engine::general_purpose::STANDARD.encode(context.finish())
}

#[cfg(test)]
#[path = "http_head_tests.rs"]
mod tests;
