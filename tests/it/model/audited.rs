//! What the audit says at the end of a sequence, held against the plain picture.

use std::time::Duration;

use serde_json::Value;

use super::plain::{Fate, Plain, Target};
use super::play::Play;
use crate::world::text;

/// Drive is asked again after minutes for what it did not show.
const AUDITS: u32 = 20;
const BETWEEN_AUDITS: Duration = Duration::from_secs(10);

impl Play {
    /// Asks for an audit, and says where it disagrees. A file whose bytes lay at its place beforehand is there before the
    /// daemon has heard of it: what the audit says it waits for is waited for.
    pub(super) async fn audit(&mut self) -> Vec<String> {
        let mut asked = 0;
        loop {
            asked += 1;
            let output = self.world.output(&["audit", "--json"]).await;
            let Ok(report) = serde_json::from_slice::<Value>(&output.stdout) else {
                return vec![format!("no audit: {}{}", text(&output.stdout), text(&output.stderr))];
            };
            let wrong = self.plain.disagree(&report);
            let waits = report["total"]["waiting"].as_u64().unwrap_or_default() > 0;
            if wrong.is_empty() || !waits || asked == AUDITS {
                return wrong;
            }
            tokio::time::sleep(BETWEEN_AUDITS).await;
        }
    }
}

impl Plain {
    /// Where a report disagrees with this picture, in which all that is due has arrived.
    fn disagree(&self, report: &Value) -> Vec<String> {
        let number = |what: &str| report["total"][what].as_u64().unwrap_or_default();
        let inside = self.inside();
        let counts = |index: usize| {
            let video = &self.videos[index];
            let is_reached = inside[video.parent] || self.is_linked(Target::Video(index), &inside);
            video.fate == Fate::There && video.wanted && is_reached && self.is_shown(video.parent)
        };
        let counted: Vec<_> = (0..self.videos.len()).filter(|&index| counts(index)).collect();
        let of = |is: &dyn Fn(usize) -> bool| counted.iter().filter(|&&index| is(index)).count() as u64;
        let existing = of(&|index| self.videos[index].existing);
        let due = of(&|index| self.is_due(index, &inside));
        let told = report["total"]["left_out"]["existing"].as_u64().unwrap_or_default();
        let delivered = number("here") + number("changed") + number("taken_away");
        let mut wrong = Vec::new();
        let mut expect = |what: &str, is_right: bool| {
            if !is_right {
                wrong.push(format!(
                    "the audit disagrees about {what}: {} are counted, {report}",
                    counted.len()
                ));
            }
        };
        expect("what counts", number("wanted") + told == counted.len() as u64);
        expect("what was there before", told == existing);
        expect("what has arrived", delivered >= due);
        expect("what is here", number("here") >= due);
        for outcome in ["missing", "unseen", "failed"] {
            expect(outcome, number(outcome) == 0);
        }
        // Nobody has waited for what need not come, such as a file whose download is forbidden: Drive may be asked for it
        // still.
        expect("what waits", number("waiting") + due <= number("wanted"));
        wrong
    }
}
