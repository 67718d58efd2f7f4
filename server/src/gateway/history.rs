//! Reading what a channel kept.

use bytes::Bytes;
use fama_fanout::Clock;
use fama_fanout::live::log::{LiveLog, LogLimits};
use fama_protocol::centrifuge::ErrorCode;
use fama_protocol::{Position, ScopedChannel};

use super::connection::HistoryAsked;

/// The newest position, and the entries asked for as they are in the log. Error 112: what comes after the position asked
/// for is not kept any more, or never was.
pub async fn read(
    log: &dyn LiveLog,
    clock: &dyn Clock,
    limits: LogLimits,
    channel: &ScopedChannel,
    asked: &HistoryAsked,
) -> Result<(Position, Vec<(u64, Bytes)>), ErrorCode> {
    let opened = log.open(channel, limits, clock.random(), clock.monotonic_ms()).await;
    let position = opened.map_err(|_| ErrorCode::INTERNAL)?;
    if let Some((offset, epoch)) = asked.since
        && (epoch != Some(position.epoch) || offset > position.offset)
    {
        return Err(ErrorCode::UNRECOVERABLE_POSITION);
    }
    if asked.limit == 0 {
        return Ok((position, Vec::new()));
    }
    let after = asked.since.filter(|_| !asked.reverse).map_or(0, |(offset, _)| offset);
    let read = log.since(channel, after, limits.size, clock.monotonic_ms()).await;
    let Some(read) = read.map_err(|_| ErrorCode::INTERNAL)?.filter(|read| read.top.epoch == position.epoch)
    else {
        return Err(ErrorCode::UNRECOVERABLE_POSITION);
    };
    let mut entries = read.entries;
    if after > 0 && entries.first().is_some_and(|(offset, _)| *offset > after + 1) {
        return Err(ErrorCode::UNRECOVERABLE_POSITION);
    }
    if asked.reverse {
        entries.retain(|(offset, _)| asked.since.is_none_or(|(since, _)| *offset < since));
        entries.reverse();
    }
    entries.truncate(asked.limit);
    Ok((read.top, entries))
}
