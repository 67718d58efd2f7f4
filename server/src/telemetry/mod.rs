//! Logs and metrics.

pub mod logs;
pub mod metrics;
pub mod names;

pub use metrics::Metrics;
