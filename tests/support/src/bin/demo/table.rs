//! The live table and the summary: what the user of `make demo` reads.

use crate::timeline::Report;

/// One line of the table.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Row {
    /// The Topic's Ready condition: its reason.
    pub(crate) topic: String,
    /// Records in the topic, from the brokers.
    pub(crate) produced: i64,
    /// Records that the handler received, from the handler.
    pub(crate) handled: u64,
    /// Records that are not committed, from the brokers.
    pub(crate) lag: i64,
    /// Wanted replicas.
    pub(crate) wanted: i32,
    /// Ready replicas.
    pub(crate) running: i32,
    /// Why Weir wants that many: the newest decision in the ConsumerGroup's status.
    pub(crate) reason: String,
}

/// Prints rows as they change, and each new sentence of a decision once.
#[derive(Debug, Default)]
pub(crate) struct Table {
    last: Option<Row>,
    sentence: String,
}

impl Table {
    /// The heading.
    pub(crate) fn begin() {
        println!(
            "\n{:>6}  {:<12} {:>9} {:>9} {:>9} {:>7} {:>8}  reason",
            "time", "topic", "produced", "handled", "lag", "wanted", "running"
        );
    }

    /// Prints `row` unless it is the one before, and `sentence` if it is new.
    pub(crate) fn show(&mut self, elapsed_s: f64, row: Row, sentence: &str) {
        if self.last.as_ref() == Some(&row) {
            return;
        }
        println!(
            "{elapsed_s:>5.1}s  {:<12} {:>9} {:>9} {:>9} {:>7} {:>8}  {}",
            row.topic, row.produced, row.handled, row.lag, row.wanted, row.running, row.reason
        );
        if !sentence.is_empty() && sentence != self.sentence {
            println!("        {sentence}");
            sentence.clone_into(&mut self.sentence);
        }
        self.last = Some(row);
    }
}

/// Prints the figures, each with who measured it.
pub(crate) fn summary(report: &Report) {
    let seconds =
        |value: Option<f64>| value.map_or_else(|| "never".to_owned(), |value| format!("{value:.2} s"));
    println!("\nSummary");
    let lines = [
        ("topic ready after", seconds(report.topic_ready_s), "from kubectl apply to Ready=True"),
        ("records produced", report.records_produced.to_string(), "counted by the brokers"),
        ("records handled", report.records_handled.to_string(), "counted by the handler, by sequence number"),
        ("lost", report.lost.to_string(), "produced and never handled"),
        ("duplicated", report.duplicated.to_string(), "handled again"),
        ("highest lag", report.lag_peak.to_string(), "read from the brokers"),
        (
            "consumers",
            format!("{} -> {} -> {}", report.replicas_start, report.replicas_peak, report.replicas_end),
            "wanted at the start, most ready at once, wanted at the end",
        ),
        ("partitions", report.partitions.to_string(), "the most consumers that can work"),
        (
            "reaction",
            seconds(report.reaction_s),
            "from the record that was too much to more wanted consumers",
        ),
        ("drained after", seconds(report.drained_s), "from the first record to a lag of 0"),
    ];
    for (name, value, source) in lines {
        println!("  {name:<18} {value:>14}   {source}");
    }
}
