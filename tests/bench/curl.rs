//! curl as a contestant: the bytes into files, neither verified nor brought to the disk.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::process::{self, Cost};
use crate::race::Contestant;
use crate::server::{Published, Scheme, Server};

/// What is done with the bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Care {
    /// `curl -o`, and nothing else.
    None,
    /// `sha256sum` and `sync` after it: what the daemon promises, by ordinary programs.
    Verified,
}

pub(crate) struct Curl<'a> {
    pub(crate) program: PathBuf,
    pub(crate) server: &'a Server<'a>,
    pub(crate) scheme: Scheme,
    pub(crate) files: &'a [Published],
    pub(crate) care: Care,
}

impl Contestant for Curl<'_> {
    fn name(&self) -> String {
        match (self.care, self.files.len()) {
            (Care::Verified, _) => "curl -o, then sha256sum and sync".to_owned(),
            (Care::None, 1) => "curl -o".to_owned(),
            (Care::None, _) => "curl --parallel --parallel-max 16".to_owned(),
        }
    }

    fn fetch(&mut self, into: &Path, limit: Duration) -> anyhow::Result<Cost> {
        let directory = into.join("files");
        fs::create_dir(&directory)?;
        let mut config = format!(
            "header = \"Authorization: Bearer {}\"\nfail\nsilent\nshow-error\nnoproxy = \"*\"\n",
            self.server.drive.access_token()
        );
        if let Some(certificate) = &self.server.bench.certificate {
            writeln!(config, "cacert = {:?}", certificate.authority)?;
        }
        if self.files.len() > 1 {
            writeln!(config, "parallel\nparallel-max = 16")?;
        }
        let url = self.server.url(self.scheme)?;
        for file in self.files {
            let path = directory.join(&file.name);
            writeln!(config, "url = \"{url}/drive/v3/files/{}?alt=media\"\noutput = {path:?}", file.id)?;
        }
        let said = into.join("curl.conf");
        fs::write(&said, config)?;
        let mut command = match self.care {
            Care::None => Command::new(&self.program),
            Care::Verified => {
                let mut shell = Command::new("/bin/sh");
                shell
                    .args(["-ec", "\"$0\" \"$@\"; sha256sum files/*; sync files/* files"])
                    .arg(&self.program);
                shell
            }
        };
        command.current_dir(into).args(["-q", "-K"]).arg(&said);
        let cost = process::run(&mut command, &into.join("log"), limit)?;
        // That of the shell says nothing.
        Ok(if self.care == Care::None { cost } else { Cost { peak: 0, ..cost } })
    }
}
