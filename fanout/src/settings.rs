//! The limits and times that fan-out works by.

/// Limits and times. The defaults are the ones of the configuration.
#[derive(Debug, Clone)]
pub struct Settings {
    /// An author with more followers becomes a celebrity.
    pub celebrity_up: u64,
    /// A celebrity with fewer followers is on the way down, after the dwell.
    pub celebrity_down: u64,
    /// How long an author stays a celebrity at least, in milliseconds.
    pub dwell_ms: u64,
    /// How old the list of celebrities may be anywhere: an author publishes its first pull post this long after it was
    /// announced.
    pub staleness_ms: u64,
    /// How far the wall clocks of two nodes may be apart, in milliseconds.
    pub clock_skew_ms: u64,
    /// For so long after the announcement a celebrity's live events go both ways.
    pub both_ways_ms: u64,
    /// From minting an id to the durable write, at most: later writes are refused.
    pub publish_limit_ms: u64,
    /// Relations, deletions and bodies that filters use are never older.
    pub freshness_ms: u64,
    /// Newest posts of one author, in process, are never older.
    pub rows_ttl_ms: u64,
    /// Settled stretches of an author's rows are kept so long.
    pub chunk_ttl_ms: u64,
    /// Only this process writes to the store, and tells its caches about each write: they may then keep what they have.
    pub sole_writer: bool,
    /// Bytes of posts kept in process.
    pub post_cache_bytes: usize,
    /// Bytes of relations kept in process.
    pub relation_cache_bytes: usize,
    /// Bytes of author rows kept in process.
    pub row_cache_bytes: usize,
    /// Posts older than this many days are in no feed.
    pub retention_days: u64,
    /// Feeds not read for so many days are dropped.
    pub active_days: u64,
    /// Followees a user may have.
    pub follow_cap: u64,
    /// Users one may block, and users one may mute.
    pub relation_cap: u64,
    /// Followers read for one message, at most 2,000.
    pub page: usize,
    /// Users in one call to the feed cache, at most 128.
    pub pipeline: usize,
    /// A page of followers older than this is checked once more before it is sent to.
    pub recheck_ms: u64,
    /// A reader gives up on sources after so long, and answers with a partial page.
    pub read_budget_ms: u64,
    /// A projection that does not answer an acknowledged write for so long is left alone.
    pub projection_ms: u64,
    /// Store reads that one page or one rebuild has under way at once.
    pub read_width: usize,
    /// A rebuild that began longer ago is taken for dead.
    pub rebuild_lock_ms: u64,
    /// Rebuilds waiting, at most; more are refused, and asked for again by the next read.
    pub rebuild_queue: usize,
    /// Rebuilds begun per second, at most; 0 is no limit.
    pub rebuilds_per_second: u64,
    /// Attempts at work that fails for good before it is set aside.
    pub attempts: u32,
    /// An outbox row is swept when it is not done after so long, at least.
    pub sweep_after_ms: u64,
    /// The longest wait between two attempts of the sweeper at one row.
    pub sweep_backoff_ms: u64,
    /// The planted bug, for tests that must find it.
    #[cfg(feature = "mutants")]
    pub mutant: Option<Mutant>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            celebrity_up: 10_000,
            celebrity_down: 6_000,
            dwell_ms: 86_400_000,
            staleness_ms: 5_000,
            clock_skew_ms: 2_000,
            both_ways_ms: 60_000,
            publish_limit_ms: 5_000,
            freshness_ms: 1_000,
            rows_ttl_ms: 250,
            chunk_ttl_ms: 600_000,
            sole_writer: false,
            post_cache_bytes: 64 << 20,
            relation_cache_bytes: 64 << 20,
            row_cache_bytes: 64 << 20,
            retention_days: 365,
            active_days: 7,
            follow_cap: 5_000,
            relation_cap: 5_000,
            page: 2_000,
            pipeline: 128,
            recheck_ms: 500,
            read_budget_ms: 1_500,
            projection_ms: 250,
            read_width: 32,
            rebuild_lock_ms: 10_000,
            rebuild_queue: 100_000,
            rebuilds_per_second: 500,
            attempts: 5,
            sweep_after_ms: 30_000,
            sweep_backoff_ms: 600_000,
            #[cfg(feature = "mutants")]
            mutant: None,
        }
    }
}

impl Settings {
    /// From now on no id older than this many milliseconds can still turn up: ids lie at most
    /// [`fama_protocol::Snowflake::MAX_AHEAD_MS`] ahead of a clock, clocks differ, and the write takes its time.
    pub fn settled_ms(&self) -> u64 {
        2 * self.publish_limit_ms + 2 * self.clock_skew_ms + fama_protocol::Snowflake::MAX_AHEAD_MS
    }

    /// Whether this bug is planted. Never, without the feature `mutants`.
    #[cfg(feature = "mutants")]
    pub fn planted(&self, mutant: Mutant) -> bool {
        self.mutant == Some(mutant)
    }

    /// Whether this bug is planted. Never, without the feature `mutants`.
    #[cfg(not(feature = "mutants"))]
    #[allow(clippy::unused_self, reason = "the same call with and without the feature")]
    pub const fn planted(&self, _: Mutant) -> bool {
        false
    }
}

/// Bugs that tests plant, to show that they would be found. Each leaves out one sentence of the design.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Mutant {
    /// A rebuild replaces what was added meanwhile.
    ReplaceRebuild,
    /// Backfill is done before the edge is there.
    BackfillBeforeEdge,
    /// The continuation is sent before its page is written.
    ContinueEarly,
    /// The page is not repeated when the generation grew.
    GenerationIgnored,
    /// Readers serve what lies below the floor.
    FloorIgnored,
    /// Readers don't merge followees whose backfill is pending.
    NoPending,
    /// A celebrity's posts that could not be read are left out of a page that goes on.
    PartialPasses,
    /// Cleanup removes entries and leaves the floor.
    CleanupNoFloor,
    /// Backfill leaves no version for cleanup to see.
    CleanupUnversioned,
    /// A pull post is never pushed, whatever the author's mode is by now.
    DrainNoRecheck,
    /// A pull post counts as found by readers as soon as its author was announced.
    RecheckNoWait,
    /// The first pull post comes at once after the announcement.
    NoAnnouncementWait,
    /// A rebuild leaves out the pull posts of those who are celebrities now.
    RebuildSkipsPull,
    /// Relations and celebrities are read after the feed.
    ListAfterFeed,
    /// Entries are read before the meta and floor.
    ReadEntriesFirst,
    /// A stretch of rows is kept although an older id may still turn up.
    ChunkUnsettled,
    /// The end of a rebuild overwrites the floor.
    FinalOverwrites,
    /// The end of a rebuild does not look at the token.
    FinalNoToken,
    /// Backfill leaves out feeds that are being built.
    BackfillSkipsBuilding,
    /// The end of a drain does not look at the mode's version.
    DrainUnconditional,
    /// Cleanup does not look at the feed's token.
    CleanupNoToken,
    /// Backfill marks the newest version as filled, not the one it filled.
    PendingBlind,
    /// Nodes are looked up before the event is in the log.
    LookupFirst,
    /// An event that is in the log already is not sent again.
    DuplicateSkips,
    /// A node reads the log before it registers.
    RegisterLate,
    /// What comes while a channel is being opened is dropped.
    NoBuffer,
    /// A message is delivered although one before it is missing.
    NoGapFetch,
    /// What the log no longer has is skipped.
    GapJumps,
    /// A replay that is not whole counts as recovered.
    PartialReplay,
    /// A channel registers while its unregistering is under way.
    UnregisterRace,
    /// A channel that is being opened does not begin again when something may have been lost.
    SubscribeGoesOn,
    /// After a lost lease channels are registered again, and not compared.
    ReregisterOnly,
    /// Missing numbers are not noticed.
    NoRecheck,
    /// The first number heard of a sender counts as its first.
    SequenceBase,
    /// Event ids are forgotten with their entries.
    DedupeRetained,
}
