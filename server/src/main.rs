//! The program: reads the command line; everything else is in the library.

use std::process::ExitCode;

use clap::Parser;
use fama_server::cli::{self, Cli};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    cli::main(Cli::parse())
}
