//! The README's first command.

use std::process::Command;

use crate::world::text;

#[test]
fn the_demo_delivers_and_ends() {
    let home = tempfile::tempdir().unwrap();
    let mut demo = Command::new(env!("CARGO_BIN_EXE_gdrive-webhook"));
    // Nothing here leaves the machine, whatever proxy it uses for the rest.
    demo.env_clear().env("http_proxy", "http://127.0.0.1:1").env("ALL_PROXY", "http://127.0.0.1:1");
    demo.env("TMPDIR", home.path()).current_dir(home.path()).args(["demo", "--uploads", "3", "--every", "0"]);
    let output = demo.output().unwrap();
    let said = text(&output.stdout);
    assert_eq!(output.status.code(), Some(0), "{said}\n{}", text(&output.stderr));
    let places: Vec<&str> =
        said.lines().filter_map(|line| line.split_whitespace().find(|word| word.starts_with('/'))).collect();
    let videos: Vec<&&str> = places.iter().filter(|place| place.ends_with(".mp4")).collect();
    assert_eq!(videos.len(), 3, "{said}");
    let clip = include_bytes!("../../src/demo/clip.mp4");
    for video in videos {
        assert_eq!(std::fs::read(video).unwrap(), clip, "{video}");
    }
}
