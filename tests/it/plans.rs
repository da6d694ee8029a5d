//! No statement of an engine reads a whole table: the plans of all statements of `src/store`. They are taken from the
//! sources and, where they are put together, from the log of a daemon that has run them; a statement that is neither
//! complete in the sources nor run fails the test.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use drive_emulator::{Action, Content, Fault, Quirk, Upload};
use sqlx::{AssertSqlSafe, Connection as _, Row as _, SqliteConnection};

use crate::world::{World, content_of};

/// Tables that grow with the files and folders in Drive.
const LARGE: [&str; 4] = ["delivery", "folder", "shortcut", "question"];

/// Indexes of what is few at any time: work that is left to do, and watched folders. They may be read from end to end.
const FEW: [&str; 9] = [
    "delivery_publishing",
    "delivery_look",
    "delivery_gone",
    "delivery_setting",
    "delivery_skipped",
    "delivery_queue",
    "folder_watched",
    "folder_problem",
    "question_due",
];

/// Beginnings of statements that may read a whole table, and why.
const SELDOM: [(&str, &str); 4] = [
    (
        "select reason, count(*) as count from delivery where stage = 'existing'",
        "`sync --dry-run` counts what it leaves out",
    ),
    ("select 1 from shortcut limit 1", "it ends with the first row"),
    (
        "delete from shortcut where parent_id not in",
        "folders have gone, and the shortcuts in them go with them",
    ),
    (
        "with recursive active (id) as",
        "the configuration has changed, or a folder has moved out of a suspended one",
    ),
];

/// The texts of the sources that begin like a statement.
fn literals() -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for path in sources(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src/store")) {
        let text = fs::read_to_string(&path).unwrap();
        let ends = ["mod tests", "pub(super) mod tests", "pub(crate) mod tests"]
            .map(|module| text.find(&format!("#[cfg(test)]\n{module}")).unwrap_or(text.len()));
        let code = &text[..ends.into_iter().min().unwrap()];
        found.extend(statements(code));
    }
    assert!(found.len() > 50, "the statements are not where this test looks");
    found
}

fn sources(directory: &Path) -> Vec<PathBuf> {
    let paths = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    let is_code = |path: &PathBuf| path.extension().is_some_and(|extension| extension == "rs");
    // Its statements make a database of an older program.
    paths.filter(|path| is_code(path) && !path.ends_with("older.rs")).collect()
}

/// The string literals of a file that begin with a verb of SQL.
fn statements(code: &str) -> Vec<String> {
    const VERBS: [&str; 5] = ["select ", "insert ", "update ", "delete ", "with "];
    let code: Vec<&str> = code.lines().filter(|line| !line.trim_start().starts_with("//")).collect();
    let code = code.join("\n");
    let mut found = Vec::new();
    let mut rest = code.as_str();
    while let Some(begin) = rest.find('"') {
        rest = &rest[begin + 1..];
        let mut end = 0;
        while !rest[end..].starts_with('"') {
            // An escaped character is two.
            end += if rest[end..].starts_with('\\') {
                2
            } else {
                rest[end..].chars().next().unwrap().len_utf8()
            };
        }
        let text = unescaped(&rest[..end]);
        if VERBS.iter().any(|verb| text.starts_with(verb)) {
            found.push(text);
        }
        rest = &rest[end + 1..];
    }
    found
}

fn unescaped(literal: &str) -> String {
    let mut lines = literal.split("\\\n");
    let first = lines.next().unwrap().to_owned();
    lines.fold(first, |text, line| text + line.trim_start()).replace("\\\"", "\"")
}

/// The statements that a daemon has run, by its log.
fn run(world: &World) -> BTreeSet<String> {
    let lines = world.log();
    let events = lines.lines().filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok());
    let events = events.filter(|event| event["target"] == "sqlx::query");
    let texts = events.map(|event| {
        let field = |name: &str| event[name].as_str().or(event["fields"][name].as_str()).map(str::trim);
        let whole = field("db.statement").filter(|text| !text.is_empty());
        whole.or(field("summary")).unwrap().to_owned()
    });
    texts.collect()
}

fn url(world: &World) -> String {
    format!("sqlite:{}", world.home().join("state.db").display())
}

/// A daemon that does what it can do.
async fn busy_world() -> World {
    let mut world = World::with_folder("", "on_update = \"ignore\"").await;
    world.replace_config("level = \"debug\"", "level = \"debug,sqlx::query=debug\"");
    world.upload("older.mp4", 1_000);
    world.start().await;
    let sub = world.drive.folder(&world.inbox, "sub");
    let film = world.upload("film.mp4", 10_000);
    world.wait_for_file("film.mp4").await;
    world.drive.revise(&film, Content::pattern(9, 9_000));
    let upload = |name: &str| Upload::new(&sub, name, content_of(name, 10_000));
    world.drive.upload(upload("late.mp4").quirk(Quirk::NoChecksums));
    world.drive.upload(upload("forbidden.mp4").quirk(Quirk::NotDownloadable));
    world.drive.fail(Fault::once("files.media", Action::status(500, "backendError")));
    let target =
        world.drive.upload(Upload::new(&world.drive.root_id(), "target.mp4", content_of("target", 500)));
    let shortcut = world.drive.shortcut(&world.inbox, "link", &target);
    world.wait("what can come has come", async || world.delivered().len() == 2).await;
    world.drive.trash(&shortcut);
    world.drive.move_to(&sub, &world.drive.root_id());
    world.replace_config("on_update = \"ignore\"", "on_update = \"replace\"\nmin_size = 100");
    assert_eq!(world.output(&["reload"]).await.status.code(), Some(0));
    let revised = world.drive.content_sha256(&film).unwrap();
    let path = world.videos().join("film.mp4");
    world.wait("the new content is in place", async || crate::world::sha256(&path) == revised).await;
    world.status().await;
    assert_eq!(world.terminate().await, 0);
    world.start().await;
    world.upload("last.mp4", 1_000);
    world.wait_for_file("last.mp4").await;
    // An audit looks closer where something is missing.
    let mut ledger = SqliteConnection::connect(&url(&world)).await.unwrap();
    for hand in ["delete from delivery where name = 'last.mp4'", "update folder set listing = 'done'"] {
        sqlx::query(hand).execute(&mut ledger).await.unwrap();
    }
    let audit = world.output(&["audit"]).await;
    assert_eq!(audit.status.code(), Some(1), "{}", crate::world::text(&audit.stdout));
    world.status().await;
    assert_eq!(world.terminate().await, 0);
    world
}

async fn plan(ledger: &mut SqliteConnection, statement: &str) -> Result<Vec<String>, sqlx::Error> {
    let rows =
        sqlx::query(AssertSqlSafe(format!("explain query plan {statement}"))).fetch_all(ledger).await?;
    Ok(rows.iter().map(|row| row.get("detail")).collect())
}

/// The step of a plan that reads a large table from end to end, if there is one.
fn whole_read(plan: &[String]) -> Option<&String> {
    plan.iter().find(|step| {
        let mut words = step.split(' ');
        let is_scan = words.next() == Some("SCAN");
        let of_large = words.next().is_some_and(|table| LARGE.contains(&table) || table == "later");
        is_scan && of_large && !FEW.iter().any(|index| step.ends_with(&format!("INDEX {index}")))
    })
}

/// The step that reads all deliveries in a stage in which there may be a million of them, if there is one.
fn read_of_a_stage<'a>(plan: &'a [String], statement: &str) -> Option<&'a String> {
    const MANY: [&str; 4] = ["'done'", "'superseded'", "'existing'", "'skipped'"];
    let has_own_index =
        |stage: &str| stage == "'skipped'" && plan.iter().any(|step| step.contains("INDEX delivery_skipped"));
    let is_many = MANY.iter().any(|stage| statement.contains(stage) && !has_own_index(stage));
    plan.iter().find(|step| is_many && step.ends_with("INDEX delivery_queue (stage=?)"))
}

#[tokio::test(flavor = "multi_thread")]
async fn no_statement_reads_a_whole_table() {
    let world = busy_world().await;
    let run = run(&world);
    assert!(run.len() > 40, "the daemon does not log its statements: {run:?}");
    let mut ledger = SqliteConnection::connect(&url(&world)).await.unwrap();
    let mut wrong = Vec::new();
    let mut statements = run.clone();
    for literal in literals() {
        let is_whole = plan(&mut ledger, &literal).await.is_ok();
        if is_whole {
            statements.insert(literal);
        } else if !run.iter().any(|statement| statement.starts_with(literal.split('{').next().unwrap())) {
            wrong.push(format!("it is neither complete nor run: {literal}"));
        }
    }
    for (seldom, _) in SELDOM {
        assert!(statements.iter().any(|statement| statement.starts_with(seldom)), "there is no {seldom}");
    }
    let is_seldom = |statement: &String| SELDOM.iter().any(|(seldom, _)| statement.starts_with(seldom));
    for statement in statements.iter().filter(|statement| !is_seldom(statement)) {
        match plan(&mut ledger, statement).await {
            Ok(plan) => {
                let step = whole_read(&plan).or_else(|| read_of_a_stage(&plan, statement));
                wrong.extend(step.map(|step| format!("{step}: {statement}")));
            }
            Err(error) => {
                let is_other = ["pragma", "create", "begin", "commit", "rollback", "savepoint", "--", "drop"]
                    .iter()
                    .any(|word| statement.to_lowercase().starts_with(word));
                if !is_other {
                    wrong.push(format!("{error}: {statement}"));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn this_test_can_fail() {
    let code = "a(\"select 1 \\\n     from t\"); b(\"a \\\"word\\\"\"); // \"update\"\n c(\"with {X} y\")";
    assert_eq!(statements(code), ["select 1 from t", "with {X} y"]);
    let reads = |step: &str| whole_read(&[step.to_owned()]).is_some();
    assert!(reads("SCAN delivery") && reads("SCAN folder USING INDEX folder_name"));
    assert!(reads("SCAN delivery USING COVERING INDEX delivery_seq"));
    assert!(!reads("SEARCH delivery USING INDEX delivery_seq (seq=?)"));
    let step = ["SEARCH delivery USING INDEX delivery_queue (stage=?)".to_owned()];
    assert!(read_of_a_stage(&step, "where stage = 'done'").is_some());
    assert!(read_of_a_stage(&step, "where stage = 'pending'").is_none());
    assert!(!reads("SCAN delivery USING INDEX delivery_look") && !reads("SCAN wanted"));
}
