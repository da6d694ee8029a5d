//! Writes the man pages and the shell completions, made from the command definition, for the Debian package:
//! `cargo run --no-default-features --example manual -- DIRECTORY`.

use std::io;
use std::path::Path;

use clap_complete::Shell;

fn main() -> io::Result<()> {
    let Some(directory) = std::env::args_os().nth(1) else {
        return Err(io::Error::other("usage: manual DIRECTORY"));
    };
    let directory = Path::new(&directory);
    let (manual, completions) = (directory.join("man"), directory.join("completions"));
    std::fs::create_dir_all(&manual)?;
    std::fs::create_dir_all(&completions)?;
    let mut command = gdrive_webhook::cli::command();
    for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
        clap_complete::generate_to(shell, &mut command, "gdrive-webhook", &completions)?;
    }
    // One page for each command, too: gdrive-webhook-channels-stop.1.
    clap_mangen::generate_to(gdrive_webhook::cli::command(), &manual)
}
