//! The program: what it prints, the files it writes, how it ends.

use std::collections::HashMap;
use std::io::{BufRead as _, BufReader};
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

/// A running program and the lines that it printed before it was ready.
struct Program {
    process: Child,
    directory: PathBuf,
    said: Vec<(String, String)>,
}

impl Program {
    fn start(name: &str, arguments: &[&str]) -> Self {
        let directory = std::env::temp_dir().join(format!("drive-emulator-{name}-{}", std::process::id()));
        let mut process = Command::new(env!("CARGO_BIN_EXE_drive-emulator"))
            .args(["--port", "0", "--folder", "Inbox", "--credentials-dir"])
            .arg(&directory)
            .args(arguments)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let said = BufReader::new(process.stdout.take().unwrap())
            .lines()
            .map(Result::unwrap)
            .map(|line| line.split_once(": ").map(|(key, value)| (key.to_owned(), value.to_owned())).unwrap())
            .take_while(|(key, _)| key != "ready")
            .collect();
        Self { process, directory, said }
    }

    fn facts(&self) -> HashMap<&str, &str> {
        self.said.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect()
    }

    fn end(mut self) {
        assert!(Command::new("kill").arg(self.process.id().to_string()).status().unwrap().success());
        assert!(self.process.wait().unwrap().success());
        std::fs::remove_dir_all(&self.directory).unwrap();
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // It has ended already unless a test failed.
        let _ = self.process.kill();
    }
}

#[test]
fn it_says_where_it_is_writes_private_files_and_ends_when_told() {
    let program = Program::start("plain", &[]);
    let facts = program.facts();
    let files: Vec<&String> =
        program.said.iter().filter(|(key, _)| key == "credentials").map(|(_, file)| file).collect();
    assert_eq!(files.len(), 3);
    for file in &files {
        assert_eq!(std::fs::metadata(file).unwrap().permissions().mode() & 0o777, 0o600, "{file}");
        let text = std::fs::read_to_string(file).unwrap();
        assert!(text.contains(&format!("{}/token", facts["address"])), "{file}");
    }
    let (id, name) = facts["folder"].split_once(' ').unwrap();
    assert_eq!((id.len(), name), (33, "Inbox"));
    assert_eq!(facts["control"], format!("{}/control/", facts["address"]));
    program.end();
}

#[tokio::test]
async fn a_host_that_trusts_its_authority_reaches_it_by_any_of_its_names() {
    // Another test may have done it already.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let names = ["--tls-name", "drive.example", "--tls-name", "127.0.0.1"];
    let program = Program::start("tls", &[&["--host", "0.0.0.0", "--tls"], &names[..]].concat());
    let address = program.facts()["tls-address"].to_owned();
    let port: u16 = address.strip_prefix("https://drive.example:").unwrap().parse().unwrap();
    let authority = std::fs::read(program.directory.join("authority.pem")).unwrap();
    let client = |trusted: &[u8]| {
        reqwest::Client::builder()
            .tls_certs_only(reqwest::Certificate::from_pem_bundle(trusted).unwrap())
            .resolve("drive.example", ([127, 0, 0, 1], port).into())
            .no_proxy()
            .build()
            .unwrap()
    };
    for address in [address.clone(), format!("https://127.0.0.1:{port}")] {
        let answer = client(&authority).get(format!("{address}/control/health")).send().await.unwrap();
        assert_eq!(answer.status(), 200, "{address}");
    }
    assert!(client(&authority).get(format!("https://localhost:{port}/control/health")).send().await.is_err());
    assert!(client(&[]).get(format!("{address}/control/health")).send().await.is_err());
    for name in ["service-account.json", "client.json", "authorized-user.json"] {
        let text = std::fs::read_to_string(program.directory.join(name)).unwrap();
        assert!(text.contains(&format!("{address}/token")), "{name}: {text}");
    }
    let key = std::fs::metadata(program.directory.join("server.key")).unwrap();
    assert_eq!(key.permissions().mode() & 0o777, 0o600);
    program.end();
}

#[tokio::test]
async fn it_begins_with_what_is_in_a_directory() {
    let directory = std::env::temp_dir().join(format!("drive-emulator-films-{}", std::process::id()));
    std::fs::create_dir_all(&directory).unwrap();
    std::fs::write(directory.join("film.mp4"), "abc").unwrap();
    let seed = ["--seed", directory.to_str().unwrap(), "--into", "Films"];
    let program = Program::start("seeded", &seed);
    let folders: Vec<&String> =
        program.said.iter().filter(|(key, _)| key == "folder").map(|(_, folder)| folder).collect();
    assert_eq!(folders.len(), 2);
    // No other test need have run before in this process.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let address = format!("{}/control/files", program.facts()["address"]);
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let files: serde_json::Value = client.get(address).send().await.unwrap().json().await.unwrap();
    let film = files["files"].as_array().unwrap().iter().find(|file| file["name"] == "film.mp4").unwrap();
    assert_eq!(folders[1], &format!("{} Films", film["parents"][0].as_str().unwrap()));
    program.end();
    std::fs::remove_dir_all(&directory).unwrap();
}
