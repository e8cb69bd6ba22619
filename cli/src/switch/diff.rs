//! A change as people read it: a unified diff (diff(1)) of two texts of a few hundred lines.

use std::fmt::Write as _;

/// Lines around a change that are shown with it.
const CONTEXT: usize = 3;

/// What becomes of a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    Kept,
    Gone,
    New,
}

/// The diff of a file; nothing where both are equal. An absent file is `None`.
pub(crate) fn unified(path: &str, before: Option<&str>, after: Option<&str>) -> String {
    if before == after {
        return String::new();
    }
    let name = |text: Option<&str>| if text.is_some() { path.to_owned() } else { "/dev/null".to_owned() };
    let mut diff = format!("--- {}\n+++ {}\n", name(before), name(after));
    let [old, new] = [before, after].map(|text| lines(text.unwrap_or_default()));
    let steps = steps(&old, &new);
    for (from, to) in hunks(&steps) {
        let passed = steps.get(..from).unwrap_or_default();
        let shown = steps.get(from..to).unwrap_or_default();
        let count = |steps: &[Step], other| steps.iter().filter(|step| **step != other).count();
        let [mut old_at, mut new_at] = [count(passed, Step::New), count(passed, Step::Gone)];
        let [old_count, new_count] = [count(shown, Step::New), count(shown, Step::Gone)];
        let begin = |at: usize, count: usize| if count == 0 { at } else { at + 1 };
        let [old_begin, new_begin] = [begin(old_at, old_count), begin(new_at, new_count)];
        let _ = writeln!(diff, "@@ -{old_begin},{old_count} +{new_begin},{new_count} @@");
        for step in shown {
            let (mark, line) = match step {
                Step::New => ('+', new.get(new_at)),
                Step::Gone => ('-', old.get(old_at)),
                Step::Kept => (' ', old.get(old_at)),
            };
            old_at += usize::from(*step != Step::New);
            new_at += usize::from(*step != Step::Gone);
            let _ = writeln!(diff, "{mark}{}", line.copied().unwrap_or_default());
        }
    }
    diff
}

/// The lines of a text; a last one without its end says so, as diff(1) does.
fn lines(text: &str) -> Vec<&str> {
    text.lines().collect()
}

/// The shortest way from one text to the other, by the longest common subsequence.
fn steps(old: &[&str], new: &[&str]) -> Vec<Step> {
    let mut lengths = vec![vec![0_usize; new.len() + 1]; old.len() + 1];
    let at = |lengths: &[Vec<usize>], i: usize, j: usize| {
        lengths.get(i).and_then(|row| row.get(j)).copied().unwrap_or_default()
    };
    for (i, line) in old.iter().enumerate().rev() {
        for (j, other) in new.iter().enumerate().rev() {
            let longest = if line == other {
                at(&lengths, i + 1, j + 1) + 1
            } else {
                at(&lengths, i + 1, j).max(at(&lengths, i, j + 1))
            };
            if let Some(place) = lengths.get_mut(i).and_then(|row| row.get_mut(j)) {
                *place = longest;
            }
        }
    }
    let (mut i, mut j) = (0, 0);
    let mut steps = Vec::with_capacity(old.len() + new.len());
    while i < old.len() || j < new.len() {
        let same = i < old.len() && j < new.len() && old.get(i) == new.get(j);
        let step = if same {
            Step::Kept
        } else if j >= new.len() || (i < old.len() && at(&lengths, i + 1, j) >= at(&lengths, i, j + 1)) {
            Step::Gone
        } else {
            Step::New
        };
        i += usize::from(step != Step::New);
        j += usize::from(step != Step::Gone);
        steps.push(step);
    }
    steps
}

/// The parts to show, as ranges of steps.
fn hunks(steps: &[Step]) -> Vec<(usize, usize)> {
    let mut hunks: Vec<(usize, usize)> = Vec::new();
    for (at, _) in steps.iter().enumerate().filter(|(_, step)| **step != Step::Kept) {
        let (from, to) = (at.saturating_sub(CONTEXT), (at + 1 + CONTEXT).min(steps.len()));
        match hunks.last_mut().filter(|last| from <= last.1) {
            Some(last) => last.1 = to,
            None => hunks.push((from, to)),
        }
    }
    hunks
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]

    use super::*;

    #[test]
    fn a_changed_line_is_shown_with_three_around_it() {
        let before = "1\n2\n3\n4\n5\n6\n7\n8\n9\n";
        let after = before.replace("5\n", "five\n");
        let expected = "--- /f\n+++ /f\n@@ -2,7 +2,7 @@\n 2\n 3\n 4\n-5\n+five\n 6\n 7\n 8\n";
        assert_eq!(unified("/f", Some(before), Some(&after)), expected);
        assert_eq!(unified("/f", Some(before), Some(before)), "");
    }

    #[test]
    fn a_new_file_and_one_that_goes_are_shown_whole() {
        assert_eq!(unified("/f", None, Some("a\n")), "--- /dev/null\n+++ /f\n@@ -0,0 +1,1 @@\n+a\n");
        assert_eq!(unified("/f", Some("a\n"), None), "--- /f\n+++ /dev/null\n@@ -1,1 +0,0 @@\n-a\n");
    }

    /// patch(1) of somebody else reads what is written here.
    #[test]
    fn patch_makes_of_one_text_the_other() {
        let folder = tempfile::tempdir().unwrap();
        let mut seed = 7_u64;
        for _ in 0..40 {
            let mut text = |most: u64| -> String {
                seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                (0..(seed >> 33) % most).map(|line| format!("{}\n", (seed >> (line % 40)) % 4)).collect()
            };
            let (before, after) = (text(30), text(30));
            if before.is_empty() || after.is_empty() || before == after {
                continue;
            }
            let file = folder.path().join("file");
            std::fs::write(&file, &before).unwrap();
            std::fs::write(folder.path().join("diff"), unified("file", Some(&before), Some(&after))).unwrap();
            let mut patch = std::process::Command::new("patch");
            let done = patch.args(["-s", "-p0", "-i", "diff"]).current_dir(folder.path()).status().unwrap();
            assert!(done.success(), "{before:?} {after:?}");
            assert_eq!(std::fs::read_to_string(&file).unwrap(), after);
        }
    }
}
