//! The program: what it prints, the files it writes, how it ends.

use std::collections::HashMap;
use std::io::{BufRead as _, BufReader};
use std::os::unix::fs::PermissionsExt as _;
use std::process::{Command, Stdio};

#[test]
fn it_says_where_it_is_writes_private_files_and_ends_when_told() {
    let directory = std::env::temp_dir().join(format!("drive-emulator-{}", std::process::id()));
    let mut program = Command::new(env!("CARGO_BIN_EXE_drive-emulator"))
        .args(["--port", "0", "--folder", "Inbox", "--credentials-dir"])
        .arg(&directory)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let said = BufReader::new(program.stdout.take().unwrap()).lines().map(Result::unwrap);
    let mut said: Vec<(String, String)> = said
        .map(|line| line.split_once(": ").map(|(key, value)| (key.to_owned(), value.to_owned())).unwrap())
        .take_while(|(key, _)| key != "ready")
        .collect();
    let files: Vec<String> =
        said.extract_if(.., |(key, _)| key == "credentials").map(|(_, file)| file).collect();
    let said: HashMap<String, String> = said.into_iter().collect();
    assert_eq!(files.len(), 3);
    for file in &files {
        assert_eq!(std::fs::metadata(file).unwrap().permissions().mode() & 0o777, 0o600, "{file}");
        let text = std::fs::read_to_string(file).unwrap();
        assert!(text.contains(&format!("{}/token", said["address"])), "{file}");
    }
    let (id, name) = said["folder"].split_once(' ').unwrap();
    assert_eq!((id.len(), name), (33, "Inbox"));
    assert_eq!(said["control"], format!("{}/control/", said["address"]));
    assert!(Command::new("kill").arg(program.id().to_string()).status().unwrap().success());
    assert!(program.wait().unwrap().success());
    std::fs::remove_dir_all(directory).unwrap();
}
