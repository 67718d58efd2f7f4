//! The program.
use std::io::Write;
fn main() {
    let _ = write!(std::io::stdout(), "{}", fama_server::config::print_defaults());
}
