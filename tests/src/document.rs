//! The pages of the documentation as scenarios play them: their fenced blocks, and the files that these stand for.
//! They are read from the checkout and trusted as its code is.

use std::fs;

use anyhow::{Context, Result, bail, ensure};

use crate::{Host, HostBuilder, programs};

/// A block of a page: text between two lines of backquotes, or a literal display of a manual page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Block {
    /// The heading that it stands under.
    pub heading: String,
    /// The line on which its text begins, from 1.
    pub line: usize,
    /// What follows the opening backquotes, such as `toml`.
    pub language: String,
    /// The file that the line before it names.
    pub place: Option<Place>,
    /// Its text, with a line end after each line.
    pub text: String,
}

/// A file, and what becomes of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// Its path.
    pub path: String,
    /// How it is edited.
    pub edit: Edit,
}

/// How a file is edited. A line is one that the file has exactly once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Edit {
    /// The block is the whole file.
    Whole,
    /// The block stands in place of this line.
    InPlaceOf(String),
    /// The block stands below this line.
    Below(String),
    /// The block stands above this line.
    Above(String),
}

/// A part of a page under one heading.
#[derive(Clone, Debug)]
pub struct Section {
    /// The heading.
    pub heading: String,
    /// Its text without its blocks.
    pub text: String,
    /// Its blocks.
    pub blocks: Vec<Block>,
}

impl Section {
    /// The section of this heading in a page of the checkout.
    ///
    /// # Errors
    /// The page cannot be read, or has no such section.
    pub fn read(page: &str, heading: &str) -> Result<Self> {
        let found = sections(&read(page)?).into_iter().find(|section| section.heading == heading);
        found.with_context(|| format!("{page} has no section \"{heading}\""))
    }

    /// The text of the only block without a file in this language.
    ///
    /// # Errors
    /// There is none, or more than one.
    pub fn only(&self, language: &str) -> Result<&str> {
        let mut blocks = self.blocks.iter().filter(|block| block.place.is_none() && block.language == language);
        match (blocks.next(), blocks.next()) {
            (Some(block), None) => Ok(&block.text),
            _ => bail!("\"{}\" has not exactly one block of {language}", self.heading),
        }
    }
}

/// A page or any other file of the checkout.
///
/// # Errors
/// It cannot be read.
pub fn read(page: &str) -> Result<String> {
    let path = programs::shipped(page);
    fs::read_to_string(&path).with_context(|| path.display().to_string())
}

/// The sections of a Markdown page, one a heading of any level.
#[must_use]
pub fn sections(page: &str) -> Vec<Section> {
    let mut sections: Vec<Section> = Vec::new();
    let mut open: Option<Block> = None;
    let mut before = "";
    for (index, line) in page.lines().enumerate() {
        match &mut open {
            Some(_) if line.trim_start().starts_with("```") => {
                let block = open.take();
                sections.last_mut().into_iter().for_each(|section| section.blocks.extend(block.clone()));
            }
            Some(block) => block.text.extend([line, "\n"]),
            None if line.starts_with('#') => {
                let heading = line.trim_start_matches('#').trim().to_owned();
                sections.push(Section { heading, text: String::new(), blocks: Vec::new() });
            }
            None => {
                let heading = sections.last().map(|section| section.heading.clone()).unwrap_or_default();
                if let Some(language) = line.trim_start().strip_prefix("```") {
                    let place = Place::parse(before);
                    open =
                        Some(Block { heading, line: index + 2, language: language.into(), place, text: String::new() });
                } else if let Some(section) = sections.last_mut() {
                    section.text.extend([line, "\n"]);
                }
            }
        }
        if !line.trim().is_empty() {
            before = line;
        }
    }
    sections
}

/// The literal displays of a manual page in mdoc(7), under the section's name.
#[must_use]
pub fn displays(page: &str) -> Vec<Block> {
    let mut blocks = Vec::new();
    let mut heading = String::new();
    let mut open: Option<Block> = None;
    for (index, line) in page.lines().enumerate() {
        if let Some(name) = line.strip_prefix(".Sh ") {
            name.clone_into(&mut heading);
        } else if line.starts_with(".Bd -literal") {
            let heading = heading.clone();
            open = Some(Block { heading, line: index + 2, language: String::new(), place: None, text: String::new() });
        } else if line == ".Ed" {
            blocks.extend(open.take());
        } else if let Some(block) = &mut open {
            block.text.extend([line.replace("\\e", "\\").as_str(), "\n"]);
        }
    }
    blocks
}

impl Place {
    /// `` `/etc/pam.d/sudo`, below `@include common-auth`: `` and the like.
    fn parse(line: &str) -> Option<Self> {
        let parts: Vec<&str> = line.split('`').collect();
        let [rest @ .., ":"] = parts.as_slice() else { return None };
        let (path, edit) = match rest {
            [.., path] if rest.len() % 2 == 0 && rest.len() < 4 => (*path, Edit::Whole),
            [_, path, ", in place of ", line] => (*path, Edit::InPlaceOf((*line).to_owned())),
            [_, path, ", below ", line] => (*path, Edit::Below((*line).to_owned())),
            [_, path, ", above ", line] => (*path, Edit::Above((*line).to_owned())),
            _ => return None,
        };
        path.starts_with('/').then(|| Self { path: path.to_owned(), edit })
    }
}

impl Edit {
    /// The file that is `old` after the edit with the block's text.
    fn apply(&self, old: &str, text: &str) -> Result<String> {
        let (line, new) = match self {
            Self::Whole => return Ok(text.to_owned()),
            Self::InPlaceOf(line) => (line, text.to_owned()),
            Self::Below(line) => (line, format!("{line}\n{text}")),
            Self::Above(line) => (line, format!("{text}{line}\n")),
        };
        let count = old.lines().filter(|of_file| of_file.trim_end() == line).count();
        ensure!(count == 1, "the line `{line}` stands there {count} times");
        let replaced = old.lines().map(|old| if old.trim_end() == line { new.clone() } else { format!("{old}\n") });
        Ok(replaced.collect())
    }
}

impl HostBuilder {
    /// Edits the host's files as the section says.
    ///
    /// # Errors
    /// The machine has no such file, or not the line that the section names.
    pub fn documented(mut self, section: &Section) -> Result<Self> {
        for block in &section.blocks {
            let Some(Place { path, edit }) = &block.place else { continue };
            let old = match edit {
                Edit::Whole => String::new(),
                _ => self.planned(path).map_or_else(|| fs::read_to_string(path), Ok).with_context(|| path.clone())?,
            };
            let new = edit.apply(&old, &block.text).with_context(|| format!("line {}, {path}", block.line))?;
            self = self.file(path, &new);
        }
        Ok(self)
    }
}

impl Host {
    /// Edits the host's files as the section says. What runs is not told.
    ///
    /// # Errors
    /// The host has no such file, or not the line that the section names.
    pub fn follow(&self, section: &Section) -> Result<()> {
        for block in &section.blocks {
            let Some(Place { path, edit }) = &block.place else { continue };
            let old = if *edit == Edit::Whole { String::new() } else { String::from_utf8(self.read(path)?)? };
            let new = edit.apply(&old, &block.text).with_context(|| format!("line {}, {path}", block.line))?;
            self.write(path, &new)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::indexing_slicing, clippy::unwrap_used, reason = "a test may panic")]

    use super::{Edit, displays, sections};

    const PAGE: &str = "# One\ntext\n\n`/etc/a`:\n\n```\nall\n```\n\n## Two\n\nIn `/etc/a`, below `x  y`:\n\n```toml\n\
                        # no heading\n```\n\n```sh\ncommand\n```\n";

    #[test]
    fn blocks_are_found_under_their_headings_with_the_files_that_they_are() {
        let found = sections(PAGE);
        assert_eq!(found.iter().map(|section| section.heading.as_str()).collect::<Vec<_>>(), ["One", "Two"]);
        let first = &found[0].blocks[0];
        assert_eq!((first.line, first.text.as_str()), (7, "all\n"));
        assert_eq!(first.place.as_ref().unwrap().edit, Edit::Whole);
        let [second, third] = [0, 1].map(|index| &found[1].blocks[index]);
        assert_eq!(second.place.as_ref().unwrap().edit, Edit::Below("x  y".to_owned()));
        assert_eq!((second.text.as_str(), third.place.as_ref()), ("# no heading\n", None));
        assert_eq!(found[1].only("sh").unwrap(), "command\n");
        assert!(found[1].only("toml").is_err());
    }

    #[test]
    fn a_line_is_edited_where_it_stands_once_and_nowhere_else() {
        let below = Edit::Below("b".to_owned());
        assert_eq!(below.apply("a\nb\nc\n", "new\n").unwrap(), "a\nb\nnew\nc\n");
        assert_eq!(Edit::Above("b".to_owned()).apply("b\n", "new\n").unwrap(), "new\nb\n");
        assert_eq!(Edit::InPlaceOf("b".to_owned()).apply("b\na\n", "new\n").unwrap(), "new\na\n");
        assert!(below.apply("a\n", "new\n").is_err());
        assert!(below.apply("b\nb\n", "new\n").is_err());
    }

    #[test]
    fn displays_of_a_manual_page_are_found() {
        let page = ".Sh EXAMPLES\n.Bd -literal -offset indent\na \\e\n  b\n.Ed\n.Pp\n";
        let found = displays(page);
        assert_eq!((found.len(), found[0].text.as_str(), found[0].heading.as_str()), (1, "a \\\n  b\n", "EXAMPLES"));
    }
}
