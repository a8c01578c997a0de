//! The `wfhost` binary: hands its arguments to the library and leaves with what it says.

use std::process::ExitCode;

fn main() -> ExitCode {
    wfhost::cli::main()
}
