//! Codes and their texts. A reason is never empty (clients only look at the code when there is a reason) and never
//! valid JSON (clients would take it for an older protocol).

/// Why a command failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ErrorCode {
    /// The number.
    pub code: u32,
    /// For people.
    pub message: &'static str,
    /// The same command may work later: clients repeat it with a growing pause.
    pub temporary: bool,
}

/// Why a connection was closed. On a WebSocket it is the close frame's code and reason.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DisconnectCode {
    /// The number.
    pub code: u16,
    /// For people.
    pub reason: &'static str,
}

/// Why a subscription ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UnsubscribeCode {
    /// The number.
    pub code: u32,
    /// For people.
    pub reason: &'static str,
}

macro_rules! errors {
    ($($(#[$doc:meta])* $name:ident = $code:literal $message:literal $temporary:literal;)*) => {
        impl ErrorCode {
            $($(#[$doc])* pub const $name: Self = Self { code: $code, message: $message, temporary: $temporary };)*
            /// All of them.
            pub const ALL: &'static [Self] = &[$(Self::$name),*];
        }
    };
}
macro_rules! disconnects {
    ($($(#[$doc:meta])* $name:ident = $code:literal $reason:literal;)*) => {
        impl DisconnectCode {
            $($(#[$doc])* pub const $name: Self = Self { code: $code, reason: $reason };)*
            /// All of them.
            pub const ALL: &'static [Self] = &[$(Self::$name),*];
        }
    };
}
macro_rules! unsubscribes {
    ($($(#[$doc:meta])* $name:ident = $code:literal $reason:literal;)*) => {
        impl UnsubscribeCode {
            $($(#[$doc])* pub const $name: Self = Self { code: $code, reason: $reason };)*
            /// All of them.
            pub const ALL: &'static [Self] = &[$(Self::$name),*];
        }
    };
}

errors! {
    /// Something failed here.
    INTERNAL = 100 "internal server error" true;
    /// No token where one is needed.
    UNAUTHORIZED = 101 "unauthorized" false;
    /// No such namespace.
    UNKNOWN_CHANNEL = 102 "unknown channel" false;
    /// Not allowed.
    PERMISSION_DENIED = 103 "permission denied" false;
    /// No such RPC method.
    METHOD_NOT_FOUND = 104 "method not found" false;
    /// One subscription per channel and connection.
    ALREADY_SUBSCRIBED = 105 "already subscribed" false;
    /// Too many channels, or too large a request.
    LIMIT_EXCEEDED = 106 "limit exceeded" false;
    /// The command makes no sense.
    BAD_REQUEST = 107 "bad request" false;
    /// The feature is off.
    NOT_AVAILABLE = 108 "not available" false;
    /// The token's time is over: get another one.
    TOKEN_EXPIRED = 109 "token expired" false;
    /// The connection's or subscription's time is over.
    EXPIRED = 110 "expired" false;
    /// Too often.
    TOO_MANY_REQUESTS = 111 "too many requests" true;
    /// The position asked for is not held any more.
    UNRECOVERABLE_POSITION = 112 "unrecoverable position" false;
}

disconnects! {
    /// The other side said goodbye.
    CONNECTION_CLOSED = 3000 "connection closed";
    /// This node goes away: connect again, elsewhere.
    SHUTDOWN = 3001 "shutdown";
    /// Something failed here.
    SERVER_ERROR = 3004 "internal server error";
    /// The token's time is over.
    EXPIRED = 3005 "connection expired";
    /// A subscription's time is over.
    SUBSCRIPTION_EXPIRED = 3006 "subscription expired";
    /// More is waiting for the client than it takes.
    SLOW = 3008 "slow";
    /// The client takes nothing at all.
    WRITE_ERROR = 3009 "write error";
    /// The continuity of a server-side subscription is lost.
    INSUFFICIENT_STATE = 3010 "insufficient state";
    /// Connect again.
    FORCE_RECONNECT = 3011 "force reconnect";
    /// A ping stayed without its pong.
    NO_PONG = 3012 "no pong";
    /// Too many messages or bytes in too short a time.
    TOO_MANY_REQUESTS = 3013 "too many requests";
    /// The token is wrong, not just old.
    INVALID_TOKEN = 3500 "invalid token";
    /// What was sent is no command, or not one for this moment.
    BAD_REQUEST = 3501 "bad request";
    /// No `connect` in time.
    STALE = 3502 "stale";
    /// Thrown out.
    FORCE_DISCONNECT = 3503 "force disconnect";
    /// The user has newer connections, as many as allowed.
    CONNECTION_LIMIT = 3504 "connection limit";
    /// Too many channels.
    CHANNEL_LIMIT = 3505 "channel limit";
    /// The data cannot be carried by this protocol.
    INAPPROPRIATE_PROTOCOL = 3506 "inappropriate protocol";
    /// Not allowed.
    PERMISSION_DENIED = 3507 "permission denied";
    /// The feature is off.
    NOT_AVAILABLE = 3508 "not available";
    /// Too many commands were wrong.
    TOO_MANY_ERRORS = 3509 "too many errors";
}

unsubscribes! {
    /// The server ended it.
    SERVER = 2000 "server unsubscribe";
    /// Continuity is lost: subscribe again, with recovery.
    INSUFFICIENT_STATE = 2500 "insufficient state";
    /// The subscription's token is over: subscribe again with another.
    EXPIRED = 2501 "subscription expired";
}

impl DisconnectCode {
    /// Whether clients stay away instead of connecting again.
    pub fn is_terminal(self) -> bool {
        matches!(self.code, 3500..=3999 | 4500..=4999)
    }
}

impl UnsubscribeCode {
    /// Whether clients subscribe again.
    pub fn resubscribes(self) -> bool {
        self.code >= 2500
    }
}
