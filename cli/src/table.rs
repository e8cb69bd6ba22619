//! Columns for people. The widths follow the rows seen so far and never shrink, so that a list of any length can be
//! printed page by page.

/// What a column is called and when it may go.
pub(crate) struct Column {
    /// Its heading.
    pub(crate) heading: &'static str,
    /// Columns with the highest rank go first where the terminal is narrow; 0 always stays.
    pub(crate) rank: u8,
    /// Whether its cells are numbers.
    pub(crate) right: bool,
}

/// How a cell is painted on a terminal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tone {
    /// As text.
    Plain,
    /// All is well: green.
    Good,
    /// Somebody may want to look: yellow.
    Warning,
    /// Nothing gets in: red.
    Bad,
}

/// One cell.
#[derive(Clone, Debug)]
pub(crate) struct Cell {
    text: String,
    tone: Tone,
}

impl Cell {
    /// A cell in a tone. The text must be printable already.
    pub(crate) fn toned(text: impl Into<String>, tone: Tone) -> Self {
        Self { text: text.into(), tone }
    }
}

impl<T: Into<String>> From<T> for Cell {
    fn from(text: T) -> Self {
        Self::toned(text, Tone::Plain)
    }
}

/// A table that is printed page by page.
pub(crate) struct Table {
    columns: Vec<Column>,
    widths: Vec<usize>,
    shown: Option<Vec<bool>>,
    room: Option<usize>,
    color: bool,
}

const GAP: usize = 2;

impl Table {
    /// A table of these columns for a terminal `room` characters wide; without a terminal nothing is left out.
    pub(crate) fn new(columns: Vec<Column>, room: Option<usize>, color: bool) -> Self {
        let widths = columns.iter().map(|column| column.heading.chars().count()).collect();
        Self { columns, widths, shown: None, room, color }
    }

    /// The next rows as text, after the headings where these are the first.
    pub(crate) fn page(&mut self, rows: &[Vec<Cell>]) -> String {
        for row in rows {
            for (width, cell) in self.widths.iter_mut().zip(row) {
                *width = (*width).max(cell.text.chars().count());
            }
        }
        let mut text = String::new();
        let shown = match self.shown.take() {
            Some(shown) => shown,
            None => {
                let shown = self.choose();
                let headings: Vec<Cell> = self.columns.iter().map(|column| column.heading.into()).collect();
                text.push_str(&self.line(&headings, &shown));
                shown
            }
        };
        for row in rows {
            text.push_str(&self.line(row, &shown));
        }
        self.shown = Some(shown);
        text
    }

    /// Which columns fit: those of the highest rank go until the rest does.
    fn choose(&self) -> Vec<bool> {
        let mut limit = self.columns.iter().map(|column| column.rank).max().unwrap_or(0);
        loop {
            let shown: Vec<bool> = self.columns.iter().map(|column| column.rank <= limit).collect();
            let taken = self.widths.iter().zip(&shown).filter(|(_, shown)| **shown).map(|(width, _)| width + GAP);
            let fits = self.room.is_none_or(|room| taken.sum::<usize>().saturating_sub(GAP) <= room);
            if fits || limit == 0 {
                return shown;
            }
            limit -= 1;
        }
    }

    fn line(&self, cells: &[Cell], shown: &[bool]) -> String {
        let mut line = String::new();
        let columns = self.columns.iter().zip(&self.widths).zip(cells).zip(shown);
        for (((column, width), cell), _) in columns.filter(|(_, shown)| **shown) {
            if !line.is_empty() {
                line.push_str("  ");
            }
            let padding = " ".repeat(width.saturating_sub(cell.text.chars().count()));
            let text = paint(&cell.text, cell.tone, self.color);
            if column.right {
                line.push_str(&padding);
                line.push_str(&text);
            } else {
                line.push_str(&text);
                line.push_str(&padding);
            }
        }
        format!("{}\n", line.trim_end())
    }
}

/// `text` in its tone, where colours are on.
pub(crate) fn paint(text: &str, tone: Tone, color: bool) -> String {
    let code = match tone {
        Tone::Good => "32",
        Tone::Warning => "33",
        Tone::Bad => "31",
        Tone::Plain => return text.to_owned(),
    };
    if color { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn columns() -> Vec<Column> {
        vec![
            Column { heading: "NAME", rank: 0, right: false },
            Column { heading: "UID", rank: 2, right: true },
            Column { heading: "STATE", rank: 1, right: false },
        ]
    }

    fn rows() -> Vec<Vec<Cell>> {
        vec![
            vec!["alice".into(), "1000".into(), "active".into()],
            vec!["bo".into(), "7".into(), Cell::toned("locked", Tone::Warning)],
        ]
    }

    #[test]
    fn columns_are_aligned_and_numbers_stand_on_the_right() {
        let page = Table::new(columns(), None, false).page(&rows());
        assert_eq!(page, "NAME    UID  STATE\nalice  1000  active\nbo        7  locked\n");
    }

    #[test]
    fn a_narrow_terminal_loses_the_least_important_columns() {
        assert_eq!(
            Table::new(columns(), Some(14), false).page(&rows()),
            "NAME   STATE\nalice  active\nbo     locked\n"
        );
        assert_eq!(Table::new(columns(), Some(3), false).page(&rows()), "NAME\nalice\nbo\n");
    }

    #[test]
    fn the_headings_stand_on_the_first_page_alone() {
        let mut table = Table::new(columns(), None, false);
        table.page(&rows());
        assert_eq!(table.page(&rows()), "alice  1000  active\nbo        7  locked\n");
    }

    #[test]
    fn colours_do_not_disturb_the_alignment() {
        let page = Table::new(columns(), None, true).page(&rows());
        assert!(page.contains("bo        7  \x1b[33mlocked\x1b[0m\n"), "{page}");
    }
}
