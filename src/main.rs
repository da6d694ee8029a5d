//! Arguments in, exit code out.

use std::process::ExitCode;

fn main() -> ExitCode {
    gdrive_webhook::cli::main()
}
