//! What is printed: Markdown on standard output.

use crate::fleet::Sample;
use crate::server::Target;

/// A share of waiting above this makes a column doubtful.
const MUCH_WAITING: f64 = 0.1;
/// And so does a spread of the first server's samples above this.
const MUCH_SPREAD: f64 = 0.2;

pub enum Cell {
    /// Microseconds of processor time for one message; median and 99th percentile of the round
    /// trips in microseconds.
    Cost {
        value: f64,
        median: f64,
        p99: f64,
        /// In a second, of what `value` is for one.
        rate: f64,
    },
    Failed(String),
}

/// How far a column may be believed.
pub struct Noise {
    /// What the servers waited for their processor, beside what they ran on it.
    waited: f64,
    /// Upper quartile of the first server's samples over their lower quartile, less one.
    spread: f64,
}

/// Servers down, workloads across.
pub struct Table {
    /// Costs are for so many bytes of the messages, not for one of these.
    pub per_bytes: Option<usize>,
    /// What is counted in a second, if that is printed.
    pub rates: Option<&'static str>,
    /// What a server starts or forks runs on its processor: however calm the machine is, it waits.
    pub has_company: bool,
    title: String,
    names: Vec<String>,
    columns: Vec<(String, Vec<Cell>, Noise)>,
}

impl Noise {
    pub fn of(samples: &[Vec<Sample>]) -> Noise {
        let all = || samples.iter().flatten();
        let ran: u64 = all().map(|sample| sample.server.cpu).sum();
        let waited: u64 = all().map(|sample| sample.server.waited).sum();
        let first: Vec<f64> = samples.iter().take(1).flatten().map(Sample::cost).collect();
        let spread = upper_quartile(first.clone()) / lower_quartile(first) - 1.0;
        Noise { waited: waited as f64 / ran.max(1) as f64, spread }
    }

    fn is_much(&self, has_company: bool) -> bool {
        (self.waited > MUCH_WAITING && !has_company)
            || self.spread.is_nan()
            || self.spread > MUCH_SPREAD
    }
}

impl Table {
    pub fn new(title: &str, targets: &[Target]) -> Table {
        let names = targets.iter().map(|target| target.name.clone()).collect();
        Table {
            per_bytes: None,
            rates: None,
            has_company: false,
            title: title.to_string(),
            names,
            columns: Vec::new(),
        }
    }

    pub fn add(&mut self, name: &str, cells: Vec<Cell>, noise: Noise) {
        self.columns.push((name.to_string(), cells, noise));
    }

    pub fn has_failed(&self) -> bool {
        self.columns.iter().flat_map(|column| &column.1).any(|cell| matches!(cell, Cell::Failed(_)))
    }

    /// Each cost, and in parentheses how many times that of the first server it is.
    pub fn print(&self) {
        let heads: Vec<&str> = self.columns.iter().map(|column| column.0.as_str()).collect();
        println!("| {} | {} |", self.title, heads.join(" | "));
        println!("|---|{}", "--:|".repeat(heads.len()));
        for (row, name) in self.names.iter().enumerate() {
            let cells = self.columns.iter().map(|(_, cells, _)| match (&cells[row], &cells[0]) {
                (Cell::Cost { value, .. }, Cell::Cost { value: floor, .. }) => {
                    format!("{} ({:.2})", figures(*value), value / floor)
                }
                (Cell::Cost { value, .. }, _) => figures(*value),
                (Cell::Failed(_), _) => "failed".to_string(),
            });
            println!("| {name} | {} |", cells.collect::<Vec<_>>().join(" | "));
        }
        if let Some(title) = self.rates {
            self.print_rates(title, &heads);
        }
        self.print_round_trips(&heads);
        self.print_noise();
    }

    fn print_rates(&self, title: &str, heads: &[&str]) {
        println!("\n| {title} | {} |", heads.join(" | "));
        println!("|---|{}", "--:|".repeat(heads.len()));
        for (row, name) in self.names.iter().enumerate() {
            let cells = self.columns.iter().map(|(_, cells, _)| match &cells[row] {
                Cell::Cost { rate, .. } => figures(*rate),
                Cell::Failed(_) => "failed".to_string(),
            });
            println!("| {name} | {} |", cells.collect::<Vec<_>>().join(" | "));
        }
    }

    fn print_round_trips(&self, heads: &[&str]) {
        println!("\n| round trip, median / 99 %, µs | {} |", heads.join(" | "));
        println!("|---|{}", "--:|".repeat(heads.len()));
        for (row, name) in self.names.iter().enumerate() {
            let cells = self.columns.iter().map(|(_, cells, _)| match &cells[row] {
                Cell::Cost { median, p99, .. } => {
                    format!("{} / {}", figures(*median), figures(*p99))
                }
                Cell::Failed(_) => "failed".to_string(),
            });
            println!("| {name} | {} |", cells.collect::<Vec<_>>().join(" | "));
        }
    }

    fn print_noise(&self) {
        println!();
        for (name, cells, noise) in &self.columns {
            println!(
                "{name}: servers waited for the processor {:.0} % of their time; {}'s samples \
                 spread by {:.0} %.{}",
                noise.waited * 100.0,
                self.names[0],
                noise.spread * 100.0,
                if noise.is_much(self.has_company) {
                    " THE MACHINE WAS TOO BUSY TO TRUST THIS COLUMN."
                } else {
                    ""
                }
            );
            for (cell, server) in cells.iter().zip(&self.names) {
                if let Cell::Failed(error) = cell {
                    println!("  {server} failed: {error}");
                }
            }
        }
    }
}

/// How far times may be believed that were taken while servers ran and waited for so long.
pub fn print_waiting(ran: u64, waited: u64) {
    let share = waited as f64 / ran.max(1) as f64;
    let doubt = if share > MUCH_WAITING { " THE MACHINE WAS TOO BUSY TO TRUST THIS." } else { "" };
    println!("\nServers waited for the processor {:.0} % of their time.{doubt}", share * 100.0);
}

/// A table with a row for each server, made one after another. An error if a server failed.
pub fn rows(
    title: &str,
    heads: &[&str],
    targets: &[Target],
    row: impl Fn(&Target) -> Result<Vec<String>, String>,
) -> Result<(), String> {
    println!("| {title} | {} |", heads.join(" | "));
    println!("|---|{}", "--:|".repeat(heads.len()));
    let mut failures = Vec::new();
    for target in targets {
        let cells = row(target).unwrap_or_else(|error| {
            failures.push(format!("{}: {error}", target.name));
            vec!["failed".to_string(); heads.len()]
        });
        println!("| {} | {} |", target.name, cells.join(" | "));
    }
    if failures.is_empty() { Ok(()) } else { Err(failures.join("\n")) }
}

/// Three figures that matter.
pub fn figures(value: f64) -> String {
    match value {
        _ if value >= 100.0 => format!("{value:.0}"),
        _ if value >= 10.0 => format!("{value:.1}"),
        _ if value >= 1.0 => format!("{value:.2}"),
        _ => format!("{value:.3}"),
    }
}

/// A quarter of the samples are below; disturbances only ever add.
pub fn lower_quartile(values: Vec<f64>) -> f64 {
    quantile(values, 1, 4)
}

pub fn upper_quartile(values: Vec<f64>) -> f64 {
    quantile(values, 3, 4)
}

fn quantile(mut values: Vec<f64>, part: usize, of: usize) -> f64 {
    values.sort_by(f64::total_cmp);
    let last = values.len().saturating_sub(1);
    values.get(last * part / of).copied().unwrap_or(f64::NAN)
}

/// Of sorted values.
pub fn percentile(sorted: &[u32], percent: f64) -> u32 {
    let last = sorted.len().saturating_sub(1);
    sorted.get((last as f64 * percent / 100.0).round() as usize).copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_and_figures() {
        let values: Vec<f64> = (0..9).rev().map(f64::from).collect();
        assert_eq!((lower_quartile(values.clone()), upper_quartile(values)), (2.0, 6.0));
        assert!(lower_quartile(Vec::new()).is_nan());
        assert_eq!(percentile(&[1, 2, 3], 50.0), 2);
        assert_eq!(percentile(&[], 99.0), 0);
        let written = [0.12345, 1.2345, 12.345, 123.45].map(figures);
        assert_eq!(written, ["0.123", "1.23", "12.3", "123"]);
    }
}
