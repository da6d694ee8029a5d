//! The report as a picture: one bar for each line, with the figures beside it, readable on light and dark ground.

use crate::report::{Line, Section, Unit, median};

const WIDTH: usize = 880;
const MARGIN: usize = 16;
/// Where bars begin, and how long the longest is.
const BARS: usize = 316;
const LONGEST: f64 = 250.0;
const ROW: usize = 20;

const STYLE: &str = "\
text{font:12px system-ui,-apple-system,'Segoe UI',sans-serif;fill:#1f2328}\
.title{font-weight:600;font-size:13px}\
.small{font-size:11px;fill:#59636e}\
.met{fill:#1a7f37}\
.missed{fill:#9a6700}\
.bar{fill:#b8c0cb}\
.ours{fill:#2f6fdb}\
@media(prefers-color-scheme:dark){\
text{fill:#e6edf3}\
.small{fill:#9198a1}\
.met{fill:#3fb950}\
.missed{fill:#d29922}\
.bar{fill:#545d68}\
.ours{fill:#6ba1ff}}";

/// The picture as SVG.
pub(crate) fn svg(sections: &[Section], caption: &[String]) -> String {
    let mut picture = Picture { body: String::new(), y: MARGIN };
    for section in sections {
        picture.section(section);
    }
    for line in caption {
        picture.text(MARGIN, "small", line);
        picture.y += 16;
    }
    let Picture { body, y } = picture;
    let height = y + MARGIN / 2;
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{WIDTH}\" height=\"{height}\" \
         viewBox=\"0 0 {WIDTH} {height}\" role=\"img\">\n<style>{STYLE}</style>\n{body}</svg>\n"
    )
}

struct Picture {
    body: String,
    y: usize,
}

impl Picture {
    fn section(&mut self, section: &Section) {
        self.y += ROW;
        self.text(MARGIN, "title", &section.title);
        self.y += 6;
        let most = section.lines.iter().map(Line::median).fold(f64::MIN_POSITIVE, f64::max);
        for line in section.lines.iter().filter(|line| line.ran()) {
            self.bar(line, line.median() / most);
        }
        for comparison in &section.comparisons {
            self.y += 16;
            let class = match comparison.met() {
                None => "small",
                Some(true) => "small met",
                Some(false) => "small missed",
            };
            let goal = comparison.goal_text();
            let goal = if goal.is_empty() { goal } else { format!("  (goal {goal})") };
            let text = format!("{}: {:.2}{}{goal}", comparison.what, comparison.value, comparison.unit);
            self.text(MARGIN, class, &text);
        }
        self.y += ROW;
    }

    fn bar(&mut self, line: &Line, share: f64) {
        self.y += ROW;
        let class = if line.is_ours() { "bar ours" } else { "bar" };
        let length = (share * LONGEST).max(2.0);
        self.body += &format!(
            "<rect class=\"{class}\" x=\"{BARS}\" y=\"{}\" width=\"{length:.0}\" height=\"12\" rx=\"2\"/>\n",
            self.y - 10
        );
        self.text(MARGIN, "", &line.name);
        self.text(BARS + length as usize + 8, "small", &figures(line));
    }

    fn text(&mut self, x: usize, class: &str, text: &str) {
        let text = text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
        self.body += &format!("<text class=\"{class}\" x=\"{x}\" y=\"{}\">{text}</text>\n", self.y);
    }
}

/// Everything that there is to say of a line, in one.
fn figures(line: &Line) -> String {
    let mebibytes = |bytes: f64| bytes / f64::from(1 << 20);
    let value = line.median();
    let mut parts = vec![match line.unit {
        Unit::Seconds => format!("{value:.2} s"),
        unit => format!("{value:.1} {}", unit.name()),
    }];
    if line.bytes > 0 {
        parts.push(format!("{:.0} MiB/s", mebibytes(line.bytes as f64) / value));
    }
    if !line.cpu.is_empty() {
        parts.push(format!("{:.2} s CPU", line.cpu()));
    }
    if median(&line.peak) > 0.0 {
        parts.push(format!("{:.0} MiB", mebibytes(median(&line.peak))));
    }
    parts.join(" · ")
}
