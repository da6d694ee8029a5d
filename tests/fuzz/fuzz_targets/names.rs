//! Names, ids and addresses that people give to files in Drive, on their way to a place on disk. Input: the template, the
//! file's name, its id, its owner, its creation time, and the folders above it, with an empty line between any two.

#![no_main]

use std::path::{Component, Path};

use gdrive_webhook::model::name::safe_name;
use gdrive_webhook::model::path::{Facts, Template};
use gdrive_webhook::model::{Naming, Refusal, RelativePath};
use libfuzzer_sys::fuzz_target;

const NAME_LIMIT: usize = 255;
const PATH_LIMIT: usize = 2048;
const DEFAULT: &str = "{folder}/{name}";

fn check(path: &RelativePath) {
    let names: Vec<&str> = path.directories().iter().map(String::as_str).chain([path.file_name()]).collect();
    for name in &names {
        assert!((1..=NAME_LIMIT).contains(&name.len()), "{name:?}");
        assert!(!name.starts_with('.'), "{name:?} is hidden, or leads up");
        assert!(!name.ends_with(['.', ' ']), "{name:?}");
        assert!(!name.contains(['/', '\\']) && !name.chars().any(char::is_control), "{name:?}");
        assert_eq!(safe_name(name), *name);
    }
    let text = path.to_string();
    assert!(names.len() == 1 || text.len() < PATH_LIMIT + NAME_LIMIT, "{} bytes", text.len());
    assert_eq!(&RelativePath::from_stored(&text), path, "the ledger gives it back as it was");

    let base = Path::new("/srv/videos");
    let below = path.under(base);
    let rest = below.strip_prefix(base).expect("below the destination");
    assert!(
        rest.components().eq(names.iter().map(|name| Component::Normal(name.as_ref()))),
        "{}",
        below.display()
    );
}

fuzz_target!(|text: &str| {
    let mut fields = text.split("\n\n");
    let mut next = || fields.next().unwrap_or_default();
    let (template, name, id, owner, created) = (next(), next(), next(), next(), next());
    let folder: Vec<String> = fields.map(str::to_owned).collect();
    let template = match Template::parse(template) {
        Ok(read) => {
            assert_eq!(read.to_string(), template);
            read
        }
        Err(_) => Template::parse(DEFAULT).unwrap(),
    };
    let owner = Some(owner).filter(|owner| !owner.is_empty());
    let path = template.render(&Facts { folder: &folder, name, id, created: created.parse().ok(), owner });
    check(&path);

    // Where the place is taken.
    let mark: String = id.chars().take(8).collect();
    let marked = [1, 2, 9999].map(|round| path.marked(&mark, round));
    for path in &marked {
        check(path);
    }
    assert!(marked[0] != marked[1] && marked[1] != marked[2]);
    if let Some((index, directory)) = path.directories().iter().enumerate().next_back() {
        let others = [1, 2].map(|round| path.with_other_directory(index, Naming::ANY, round));
        others.iter().for_each(check);
        // A name as long as can be, with this end already, has another one in the next round.
        assert!(others.iter().any(|other| other.directories()[index] != *directory), "{directory:?}");
    }
    // Where the file system refuses it.
    for refusal in [Refusal::Character, Refusal::Length] {
        let mut naming = Naming::ANY;
        while let Some(stricter) = naming.after(refusal, path.file_name()) {
            naming = stricter;
            check(&path.named_as(naming));
            check(&path.marked_as(naming, &mark, 1));
        }
    }
});
