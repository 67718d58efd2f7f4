//! How far an import is: a bar on a terminal, now and then a line elsewhere.

use std::io::{self, IsTerminal, Write};
use std::time::{Duration, Instant};

use indicatif::{HumanCount, ProgressBar, ProgressStyle};

use crate::import::Progress;

/// Between two lines where there is no terminal.
const LINE_EVERY: Duration = Duration::from_secs(2);

/// Shows how far an import is, on standard error.
pub struct Shown {
    what: &'static str,
    bar: Option<ProgressBar>,
    started: Instant,
    last_line: Instant,
}

impl Shown {
    /// `what` is imported.
    pub fn new(what: &'static str) -> Self {
        let bar = io::stderr().is_terminal().then(|| {
            let bar = ProgressBar::new(0);
            let style =
                ProgressStyle::with_template("{prefix:>10} {bar:40.cyan/blue} {percent:>3} %  {msg}  {eta}");
            if let Ok(style) = style {
                bar.set_style(style.progress_chars("━╸─"));
            }
            bar.set_prefix(what);
            bar
        });
        let now = Instant::now();
        Self { what, bar, started: now, last_line: now }
    }

    /// All is done.
    pub fn finish(self, records: u64) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
        let (what, took) = (self.what, self.started.elapsed().as_secs_f64());
        Self::line(&format!("{what}: {} imported in {took:.1} s", HumanCount(records)));
    }

    fn line(text: &str) {
        let _ = writeln!(io::stderr(), "{text}");
    }
}

impl Progress for Shown {
    fn at(&mut self, bytes: u64, total: u64, records: u64) {
        if let Some(bar) = &self.bar {
            bar.set_length(total);
            bar.set_position(bytes);
            bar.set_message(HumanCount(records).to_string());
        } else if self.last_line.elapsed() >= LINE_EVERY {
            self.last_line = Instant::now();
            let percent = bytes.saturating_mul(100).checked_div(total).unwrap_or(100);
            Self::line(&format!("{}: {percent} %, {} imported", self.what, HumanCount(records)));
        }
    }

    fn resumed(&mut self, line: u64) {
        let text = format!("{}: going on behind line {line}, where an earlier import stopped", self.what);
        match &self.bar {
            Some(bar) => bar.println(text),
            None => Self::line(&text),
        }
    }
}
