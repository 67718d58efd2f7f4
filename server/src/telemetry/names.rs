//! Names of metrics: `fama_<part>_<what>[_<unit>]`, counters end in `_total`, times are in seconds. Labels have few
//! values, known beforehand: never a user, a channel or a path.

/// Requests answered, by `method`, `route` (the pattern) and `status`.
pub const HTTP_REQUESTS: &str = "fama_http_requests_total";
/// How long they took, by `method` and `route`.
pub const HTTP_SECONDS: &str = "fama_http_request_seconds";
/// Posts acknowledged, by `delivery`.
pub const POSTS: &str = "fama_posts_published_total";
/// Pages of feeds, by `partial`.
pub const FEED_READS: &str = "fama_feed_pages_total";
/// Jobs of fan-out workers that wait, by `lane`.
pub const JOBS: &str = "fama_fanout_jobs";
/// How long jobs waited of late.
pub const LAG: &str = "fama_fanout_lag_seconds";
/// Posts whose last follower has been served.
pub const FANNED_OUT: &str = "fama_fanout_posts_total";
/// How long after their publishing that was, added up. Imported posts count from when they say they were published.
pub const FAN_OUT_MS: &str = "fama_fanout_milliseconds_total";
/// Feeds that wait to be built anew.
pub const REBUILDS: &str = "fama_fanout_rebuilds";
/// Work that is owed.
pub const OUTBOX: &str = "fama_store_outbox_rows";
/// Commits of the embedded store, each with one sync.
pub const COMMITS: &str = "fama_store_commits_total";
/// Writes in them.
pub const OPERATIONS: &str = "fama_store_operations_total";
/// Writes that wait for the disk.
pub const WAITING: &str = "fama_store_waiting";
/// 1 if the store takes writes.
pub const STORE_UP: &str = "fama_store_up";
/// Sockets.
pub const CONNECTIONS: &str = "fama_gateway_connections";
/// From a post's publishing to its write to a socket, of one publication in sixteen.
pub const DELIVERY_SECONDS: &str = "fama_gateway_delivery_seconds";
/// Requests in flight, those that wait for their turn included.
pub const IN_FLIGHT: &str = "fama_http_in_flight";
/// Requests refused because their turn would not have come in time.
pub const SHED: &str = "fama_http_shed_total";
/// Memory in use.
pub const RESIDENT: &str = "fama_process_resident_bytes";
/// Memory above which nobody new comes in.
pub const MEMORY_LIMIT: &str = "fama_process_memory_limit_bytes";
/// Files that this process may have open.
pub const FILES: &str = "fama_process_files_limit";
/// Since the start.
pub const UPTIME: &str = "fama_process_uptime_seconds";

/// Each with the help text that is printed with it.
pub const HELP: &[(&str, &str)] = &[
    (HTTP_REQUESTS, "Requests answered"),
    (HTTP_SECONDS, "How long requests took"),
    (POSTS, "Posts acknowledged"),
    (FEED_READS, "Pages of feeds read"),
    (JOBS, "Fan-out jobs that wait"),
    (LAG, "How long fan-out jobs waited of late"),
    (FANNED_OUT, "Posts whose last follower has been served"),
    (FAN_OUT_MS, "How long after publishing that was, added up"),
    (REBUILDS, "Feeds that wait to be built anew"),
    (OUTBOX, "Outbox rows not done"),
    (COMMITS, "Commits of the embedded store"),
    (OPERATIONS, "Writes of the embedded store"),
    (WAITING, "Writes that wait for the disk"),
    (STORE_UP, "Whether the store takes writes"),
    (CONNECTIONS, "Sockets connected"),
    (DELIVERY_SECONDS, "From publishing to the write to a socket"),
    (IN_FLIGHT, "Requests in flight, waiting ones included"),
    (SHED, "Requests refused because their turn would not have come in time"),
    (RESIDENT, "Memory in use"),
    (MEMORY_LIMIT, "Memory above which nobody new comes in"),
    (FILES, "Files that this process may have open"),
    (UPTIME, "Since the start of the process"),
];
