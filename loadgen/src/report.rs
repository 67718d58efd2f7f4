//! The table.

/// One measured figure beside its target.
struct Row {
    what: String,
    figure: String,
    limit: String,
    target: String,
}

/// What was measured, in order.
#[derive(Default)]
pub struct Report {
    rows: Vec<Row>,
}

impl Report {
    /// Adds a row: what, the figure, the limit measured in the same run, the target, and whether it is hit.
    pub fn add(&mut self, what: &str, figure: String, limit: String, target: &str, hit: Option<bool>) {
        let target = match hit {
            Some(true) => format!("{target}: hit"),
            Some(false) => format!("{target}: missed"),
            None => target.to_owned(),
        };
        eprintln!("  {what}: {figure}; limit: {limit}; target: {target}");
        self.rows.push(Row { what: what.into(), figure, limit, target });
    }

    /// Prints the table as Markdown.
    #[expect(clippy::print_stdout, reason = "the report is the output of this program")]
    pub fn print(&self) {
        println!("| what | measured | limit in the same run | target |\n|---|---|---|---|");
        for row in &self.rows {
            println!("| {} | {} | {} | {} |", row.what, row.figure, row.limit, row.target);
        }
    }
}
