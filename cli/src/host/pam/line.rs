//! The lines of a PAM file: comments off, continuations joined, cut into words, as `pam.conf(5)` says and
//! Linux-PAM does.

/// A line with where it begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Line {
    /// Where it begins, counted from 1.
    pub(crate) number: usize,
    /// Its words. A word in brackets comes without them.
    pub(crate) words: Vec<String>,
}

/// The file ends within a line: libpam then takes none of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Unfinished {
    /// The line that goes on after the end of the file.
    pub(crate) line: usize,
}

/// Cuts a file into lines.
///
/// # Errors
/// The last line ends with a backslash.
pub(crate) fn parse(text: &str) -> Result<Vec<Line>, Unfinished> {
    let mut lines = Vec::new();
    let mut open: Option<(usize, String)> = None;
    for (index, raw) in text.lines().enumerate() {
        let raw = raw.trim_start_matches([' ', '\n', '\t']);
        // Blank lines and comments are passed over, even between a line and its continuation.
        if raw.is_empty() || raw.starts_with('#') {
            continue;
        }
        let (number, mut joined) = open.take().unwrap_or((index + 1, String::new()));
        let (text, commented) = match raw.split_once('#') {
            Some((text, _)) => (text, true),
            None => (raw, false),
        };
        let text = text.trim_end();
        match text.strip_suffix('\\') {
            // A comment ends a line for good.
            Some(text) if !commented => {
                joined.push_str(text);
                joined.push(' ');
                open = Some((number, joined));
            }
            _ => {
                joined.push_str(text);
                lines.push(Line { number, words: words(&joined) });
            }
        }
    }
    match open {
        Some((line, _)) => Err(Unfinished { line }),
        None => Ok(lines),
    }
}

/// Cuts at blanks; a word that begins with `[` goes to the next `]`, blanks included, with `\]` for a bracket in it.
fn words(line: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut rest = line.trim_start_matches(blank);
    while !rest.is_empty() {
        let (word, left) = match rest.strip_prefix('[') {
            Some(inner) => bracketed(inner),
            None => {
                let (word, left) = rest.split_at(rest.find(blank).unwrap_or(rest.len()));
                (word.to_owned(), left)
            }
        };
        words.push(word);
        rest = left.trim_start_matches(blank);
    }
    words
}

fn blank(character: char) -> bool {
    matches!(character, ' ' | '\t' | '\n')
}

fn bracketed(inner: &str) -> (String, &str) {
    let mut word = String::new();
    let mut characters = inner.char_indices().peekable();
    while let Some((at, character)) = characters.next() {
        match (character, characters.peek()) {
            (']', _) => return (word, inner.get(at + 1..).unwrap_or_default()),
            ('\\', Some((_, ']'))) => {
                characters.next();
                word.push(']');
            }
            _ => word.push(character),
        }
    }
    (word, "")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words_of(text: &str) -> Vec<Vec<String>> {
        parse(text).unwrap_or_default().into_iter().map(|line| line.words).collect()
    }

    #[test]
    fn comments_blank_lines_and_continuations_are_read_as_libpam_does() {
        let text = "# head\n\n auth required \\\n# between\n\n\tpam_x.so a#b\nauth optional pam_y.so\n";
        assert_eq!(words_of(text), [vec!["auth", "required", "pam_x.so", "a"], vec!["auth", "optional", "pam_y.so"]]);
        assert_eq!(parse(text).map(|lines| lines.iter().map(|line| line.number).collect()), Ok(vec![3, 7]));
    }

    #[test]
    fn a_bracketed_word_keeps_its_blanks() {
        assert_eq!(words_of("auth [a=b  c=\\]d] m [x y]"), [["auth", "a=b  c=]d", "m", "x y"]]);
        assert_eq!(words_of("auth [a=b m"), [["auth", "a=b m"]]);
    }

    #[test]
    fn a_file_that_ends_within_a_line_is_refused() {
        assert_eq!(parse("auth required a.so\nauth \\\n"), Err(Unfinished { line: 2 }));
    }
}
