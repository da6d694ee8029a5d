//! Questions that only this process can answer. An address at which the answer comes back leads here, and to nobody else.
//! Whoever may ask the admin address gets both; a stranger gets neither.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::model::id::hash_token;

/// How long a question is answered.
const LIFE: Duration = Duration::from_mins(1);
/// So many are answered at once. An older one is forgotten for each new one.
const LIMIT: usize = 8;
/// The parameter of a request that asks.
const PARAMETER: &str = "challenge=";

/// A question, which is no secret, and its answer, which is one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Challenge {
    /// The query of the request that asks.
    pub query: String,
    /// The whole body of the answer.
    pub answer: String,
}

struct Open {
    hash: String,
    answer: String,
    until: Instant,
}

/// Those that are answered now. Clones share them.
#[derive(Clone, Default)]
pub struct Challenges(Arc<Mutex<VecDeque<Open>>>);

impl std::fmt::Debug for Challenges {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Challenges([hidden])")
    }
}

impl Challenges {
    /// Makes one, which is answered for a minute.
    pub fn make(&self) -> Challenge {
        let [question, answer] = [(); 2].map(|()| uuid::Uuid::new_v4().to_string());
        let mut open = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        while open.len() >= LIMIT {
            open.pop_front();
        }
        let (hash, until) = (hash_token(question.as_bytes()), Instant::now() + LIFE);
        open.push_back(Open { hash, answer: answer.clone(), until });
        Challenge { query: format!("{PARAMETER}{question}"), answer }
    }

    /// The answer to the query of a request, if it asks one of these. Hashes are compared: how far two of them agree says
    /// nothing about the question.
    pub fn answer(&self, query: Option<&str>) -> Option<String> {
        let question = query?.strip_prefix(PARAMETER)?;
        let mut open = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        open.retain(|challenge| challenge.until > now);
        if open.is_empty() {
            return None;
        }
        let hash = hash_token(question.as_bytes());
        open.iter().find(|challenge| challenge.hash == hash).map(|challenge| challenge.answer.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_question_is_answered_for_a_minute_and_no_other_one_is() {
        let challenges = Challenges::default();
        assert_eq!(challenges.answer(Some("challenge=")), None);
        let made = challenges.make();
        for _ in 0..2 {
            assert_eq!(challenges.answer(Some(&made.query)), Some(made.answer.clone()));
        }
        for query in [None, Some(""), Some("challenge="), Some(made.answer.as_str()), Some(&made.query[..20])]
        {
            assert_eq!(challenges.answer(query), None, "{query:?}");
        }
        tokio::time::advance(LIFE).await;
        assert_eq!(challenges.answer(Some(&made.query)), None);
    }

    #[tokio::test(start_paused = true)]
    async fn many_questions_cost_no_more_than_a_few() {
        let challenges = Challenges::default();
        let made: Vec<Challenge> = (0..=LIMIT).map(|_| challenges.make()).collect();
        assert_eq!(challenges.answer(Some(&made[0].query)), None);
        assert_eq!(challenges.answer(Some(&made[1].query)), Some(made[1].answer.clone()));
        assert!(!format!("{challenges:?}").contains(&made[1].answer));
    }
}
