//! The report as text.

use crate::report::{Line, Section, Unit, median};

/// A section as an aligned table with its comparisons and notes below it.
pub(crate) fn text(section: &Section) -> String {
    let head = ["", "median", "spread", "speed", "CPU", "peak memory"].map(str::to_owned);
    let rows: Vec<[String; 6]> =
        [head].into_iter().chain(section.lines.iter().filter(|line| line.ran()).map(cells)).collect();
    let widths: Vec<usize> = (0..6)
        .map(|column| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or_default())
        .collect();
    let mut text = format!("{}\n", section.title);
    for row in &rows {
        text += "  ";
        for (column, (cell, width)) in row.iter().zip(&widths).enumerate() {
            // A column that no line of this section has anything for.
            if rows[1..].iter().all(|row| row[column].is_empty()) {
                continue;
            }
            let blank = " ".repeat(width - cell.chars().count());
            text += &if column == 0 { format!("{cell}{blank}") } else { format!("  {blank}{cell}") };
        }
        text.truncate(text.trim_end().len());
        text += "\n";
    }
    for comparison in &section.comparisons {
        let met = match comparison.met() {
            None => String::new(),
            Some(met) => format!("  (goal {}{})", comparison.goal_text(), if met { "" } else { ", missed" }),
        };
        text += &format!("  {}: {:.2}{}{met}\n", comparison.what, comparison.value, comparison.unit);
    }
    for note in &section.notes {
        text += &format!("  {note}\n");
    }
    text
}

fn cells(line: &Line) -> [String; 6] {
    let number = |value: f64| match line.unit {
        Unit::Seconds => format!("{value:.2} s"),
        unit => format!("{value:.1} {}", unit.name()),
    };
    let least = line.values.iter().copied().fold(f64::INFINITY, f64::min);
    let most = line.values.iter().copied().fold(0.0, f64::max);
    let is_alone = line.values.len() < 2;
    let mebibytes = |bytes: f64| bytes / f64::from(1 << 20);
    [
        line.name.clone(),
        number(line.median()),
        if is_alone { String::new() } else { format!("{} … {}", number(least), number(most)) },
        match line.bytes {
            0 => String::new(),
            bytes => format!("{:.0} MiB/s", mebibytes(bytes as f64) / line.median()),
        },
        if line.cpu.is_empty() { String::new() } else { format!("{:.2} s", line.cpu()) },
        match median(&line.peak) {
            0.0 => String::new(),
            peak => format!("{:.0} MiB", mebibytes(peak)),
        },
    ]
}
