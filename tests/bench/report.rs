//! What was measured: lines with medians, and how they compare.

use serde_json::{Value, json};

use crate::process::Cost;

/// What a line's values are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unit {
    Seconds,
    Milliseconds,
    Mebibytes,
}

impl Unit {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Seconds => "s",
            Self::Milliseconds => "ms",
            Self::Mebibytes => "MiB",
        }
    }
}

/// One contestant in one work.
#[derive(Clone, Debug)]
pub(crate) struct Line {
    pub(crate) name: String,
    pub(crate) unit: Unit,
    pub(crate) values: Vec<f64>,
    pub(crate) cpu: Vec<f64>,
    /// Bytes.
    pub(crate) peak: Vec<f64>,
    /// What was fetched in that time, if it was fetched.
    pub(crate) bytes: u64,
}

impl Line {
    pub(crate) fn new(name: impl Into<String>, unit: Unit) -> Self {
        Self { name: name.into(), unit, values: Vec::new(), cpu: Vec::new(), peak: Vec::new(), bytes: 0 }
    }

    pub(crate) fn of(name: impl Into<String>, unit: Unit, values: Vec<f64>) -> Self {
        Self { values, ..Self::new(name, unit) }
    }

    pub(crate) fn add(&mut self, cost: Cost) {
        self.values.push(cost.wall.as_secs_f64());
        self.cpu.push(cost.cpu.as_secs_f64());
        self.peak.push(cost.peak as f64);
    }

    /// Of the daemon, and not of what it is compared with.
    pub(crate) fn is_ours(&self) -> bool {
        self.name.starts_with("gdrive-webhook")
    }

    /// Whether it had its turn.
    pub(crate) fn ran(&self) -> bool {
        !self.values.is_empty()
    }

    pub(crate) fn median(&self) -> f64 {
        median(&self.values)
    }

    /// Of the CPU seconds.
    pub(crate) fn cpu(&self) -> f64 {
        median(&self.cpu)
    }
}

/// How two figures have to stand to each other, or how large one may be.
#[derive(Clone, Debug)]
pub(crate) struct Comparison {
    pub(crate) what: String,
    pub(crate) value: f64,
    pub(crate) goal: Goal,
    /// Behind the figure.
    pub(crate) unit: &'static str,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Goal {
    AtLeast(f64),
    AtMost(f64),
    /// Only told.
    None,
}

impl Comparison {
    /// How many times as fast the second is as the first.
    pub(crate) fn speed(slower: &Line, faster: &Line, goal: Goal) -> Self {
        Self {
            what: format!("speed of {} against {}", faster.name, slower.name),
            value: slower.median() / faster.median(),
            goal,
            unit: "×",
        }
    }

    pub(crate) fn met(&self) -> Option<bool> {
        match self.goal {
            Goal::AtLeast(goal) => Some(self.value >= goal),
            Goal::AtMost(goal) => Some(self.value <= goal),
            Goal::None => None,
        }
    }

    pub(crate) fn goal_text(&self) -> String {
        match self.goal {
            Goal::AtLeast(goal) => format!("≥ {goal}{}", self.unit),
            Goal::AtMost(goal) => format!("≤ {goal}{}", self.unit),
            Goal::None => String::new(),
        }
    }
}

/// Everything of one work.
#[derive(Clone, Debug, Default)]
pub(crate) struct Section {
    pub(crate) title: String,
    pub(crate) lines: Vec<Line>,
    pub(crate) comparisons: Vec<Comparison>,
    /// What one has to know to read the figures.
    pub(crate) notes: Vec<String>,
}

impl Section {
    pub(crate) fn new(title: impl Into<String>) -> Self {
        Self { title: title.into(), ..Self::default() }
    }

    /// Compares a line of the daemon's with the best of those whose names begin like this.
    pub(crate) fn compare(&mut self, ours: usize, others: &str, goal: Goal) {
        let best = self
            .lines
            .iter()
            .filter(|line| line.name.starts_with(others) && line.ran())
            .min_by(|a, b| a.median().total_cmp(&b.median()));
        if let Some(best) = best.filter(|_| self.lines[ours].ran()) {
            self.comparisons.push(Comparison::speed(best, &self.lines[ours], goal));
        }
    }

    pub(crate) fn json(&self) -> Value {
        let lines = self.lines.iter().map(|line| {
            json!({
                "name": line.name, "unit": line.unit.name(), "values": line.values, "median": line.median(),
                "cpuSeconds": line.cpu, "peakBytes": line.peak, "bytes": line.bytes,
            })
        });
        let comparisons = self.comparisons.iter().map(|comparison| {
            json!({
                "what": comparison.what, "value": comparison.value, "unit": comparison.unit,
                "goal": comparison.goal_text(), "met": comparison.met(),
            })
        });
        json!({
            "title": self.title, "lines": lines.collect::<Vec<_>>(),
            "comparisons": comparisons.collect::<Vec<_>>(), "notes": self.notes,
        })
    }
}

pub(crate) fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    match sorted.len() {
        0 => 0.0,
        odd if odd % 2 == 1 => sorted[middle],
        _ => f64::midpoint(sorted[middle - 1], sorted[middle]),
    }
}

/// `4 GiB`, `64 MiB`, `12 KiB`, bytes.
pub(crate) fn size(bytes: u64) -> String {
    let units = [(30, "GiB"), (20, "MiB"), (10, "KiB")];
    let fits = units.into_iter().find(|(shift, _)| bytes >= 1 << shift && bytes.is_multiple_of(1 << shift));
    fits.map_or_else(|| format!("{bytes} bytes"), |(shift, unit)| format!("{} {unit}", bytes >> shift))
}
