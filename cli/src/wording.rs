//! How numbers, times and foreign texts are put into words. Pure; whatever comes from outside goes through
//! [`printable`] before a terminal sees it.

use std::fmt::Write as _;

const MINUTE: u64 = 60;
const HOUR: u64 = 60 * MINUTE;
const DAY: u64 = 24 * HOUR;

/// `text` with everything escaped that could steer a terminal or reorder a line.
pub(crate) fn printable(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for character in text.chars() {
        if steers(character) {
            let _ = write!(safe, "\\u{{{:x}}}", u32::from(character));
        } else {
            safe.push(character);
        }
    }
    safe
}

/// Control characters, and the invisible ones by which Unicode reorders or hides text.
fn steers(character: char) -> bool {
    character.is_control()
        || matches!(character,
            '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

/// A span of time for people: `27 s`, `2 minutes`, `3 hours`, `12 days`. Parts of a unit count as a whole one, so
/// that nobody is told to come back too early.
pub(crate) fn duration(seconds: u64) -> String {
    match seconds {
        0..120 => format!("{seconds} s"),
        120..7200 => format!("{} minutes", seconds.div_ceil(MINUTE)),
        7200..172_800 => format!("{} hours", seconds.div_ceil(HOUR)),
        _ => format!("{} days", seconds.div_ceil(DAY)),
    }
}

/// How long ago `then` was, both in seconds since the epoch.
pub(crate) fn ago(then: u64, now: u64) -> String {
    let Some(seconds) = now.checked_sub(then) else {
        return "in the future".to_owned();
    };
    match seconds {
        0..10 => "just now".to_owned(),
        10..120 => format!("{seconds} s ago"),
        120..7200 => format!("{} minutes ago", seconds / MINUTE),
        7200..172_800 => format!("{} hours ago", seconds / HOUR),
        _ => format!("{} days ago", seconds / DAY),
    }
}

/// Seconds since the epoch as ISO 8601 in UTC.
pub(crate) fn iso8601(seconds: u64) -> String {
    // Days to a civil date by Howard Hinnant's algorithm: eras of 400 years that begin on 1 March.
    let days = seconds / DAY + 719_468;
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    let year = era * 400 + year_of_era + u64::from(month <= 2);
    let time = seconds % DAY;
    let (hour, minute, second) = (time / HOUR, time % HOUR / MINUTE, time % MINUTE);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
}

/// A moment in UTC as people type it: `2026-11-20`, `2026-11-20T10:00`, `2026-11-20 10:00:30Z`. In seconds since the
/// epoch.
pub(crate) fn parse_moment(text: &str) -> Option<u64> {
    let text = text.strip_suffix('Z').unwrap_or(text);
    let (date, time) = text.split_once(['T', ' ']).unwrap_or((text, "00:00"));
    let [year, month, day] = numbers(date, '-', [4, 2, 2])?;
    let [hour, minute, second] = numbers(time, ':', [2, 2, 2]).or_else(|| {
        let [hour, minute] = numbers(time, ':', [2, 2])?;
        Some([hour, minute, 0])
    })?;
    // Days of a civil date by Howard Hinnant's algorithm, as in `iso8601`.
    let shifted_year = year.checked_sub(u64::from(month <= 2))?;
    let (era, year_of_era) = (shifted_year / 400, shifted_year % 400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day.checked_sub(1)?;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    let days = (era * 146_097 + day_of_era).checked_sub(719_468)?;
    let moment = days * DAY + hour * HOUR + minute * MINUTE + second;
    // A day or an hour that there is not comes back as another one.
    let same = iso8601(moment) == format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z");
    same.then_some(moment)
}

/// As many numbers as there are widths, each of just so many digits.
fn numbers<const N: usize>(text: &str, between: char, widths: [usize; N]) -> Option<[u64; N]> {
    let mut parts = text.split(between);
    let mut numbers = [0; N];
    for (number, width) in numbers.iter_mut().zip(widths) {
        let digits = parts.next().filter(|part| part.len() == width)?;
        *number = digits.bytes().all(|byte| byte.is_ascii_digit()).then(|| digits.parse().ok())??;
    }
    parts.next().is_none().then_some(numbers)
}

/// A span of time as people type it: `90s`, `30m`, `24h`, `2d`, or several such parts. In seconds.
pub(crate) fn parse_duration(text: &str) -> Option<u64> {
    let mut total = 0_u64;
    let mut number: Option<u64> = None;
    for character in text.chars() {
        if let Some(digit) = character.to_digit(10) {
            number = Some(number.unwrap_or(0).checked_mul(10)?.checked_add(u64::from(digit))?);
            continue;
        }
        let unit = match character {
            's' => 1,
            'm' => MINUTE,
            'h' => HOUR,
            'd' => DAY,
            _ => return None,
        };
        total = total.checked_add(number.take()?.checked_mul(unit)?)?;
    }
    (number.is_none() && total > 0).then_some(total)
}

/// A count with thousands apart: `12,500`.
pub(crate) fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// `number` of a thing, whose plural takes an `s`.
pub(crate) fn many(number: u64, thing: &str) -> String {
    format!("{} {thing}{}", count(number), if number == 1 { "" } else { "s" })
}

/// `text` in lines of at most `width` characters, broken at spaces; lines after the first begin with `indent`. A word
/// that is longer than a line keeps a line of its own.
pub(crate) fn wrap(text: &str, width: usize, indent: &str) -> String {
    let mut wrapped = String::with_capacity(text.len() + 16);
    let mut column = 0;
    for word in text.split(' ') {
        let length = word.chars().count();
        if column > 0 && column + 1 + length > width {
            wrapped.push('\n');
            wrapped.push_str(indent);
            column = indent.chars().count();
        } else if !wrapped.is_empty() {
            wrapped.push(' ');
            column += 1;
        }
        wrapped.push_str(word);
        column += length;
    }
    wrapped
}

/// How the commands begin that messages end with.
const COMMANDS: [&str; 6] = ["sudo ", "countersign ", "systemctl ", "journalctl ", "getent ", "timedatectl"];

/// As [`wrap`], but a command at the end, as in `Sooner: sudo countersign unlock ann`, stays in one piece: where it does
/// not fit, it stands on a line of its own, from which it can be copied.
pub(crate) fn wrap_before_command(text: &str, width: usize, indent: &str) -> String {
    let parts = text.rsplit_once(": ").filter(|(_, end)| COMMANDS.iter().any(|begin| end.starts_with(begin)));
    match parts {
        Some((lead, command)) if text.chars().count() > width => {
            format!("{}\n  {command}", wrap(&format!("{lead}:"), width, indent))
        }
        _ => wrap(text, width, indent),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn terminal_escapes_and_reordering_are_shown_and_not_obeyed() {
        assert_eq!(printable("a\x1b[2Jb\r\n\u{9b}c\u{7f}"), "a\\u{1b}[2Jb\\u{d}\\u{a}\\u{9b}c\\u{7f}");
        assert_eq!(printable("x\u{202e}y\u{2066}z\u{200b}"), "x\\u{202e}y\\u{2066}z\\u{200b}");
        assert_eq!(printable("Zoë's phone"), "Zoë's phone");
    }

    #[test]
    fn durations_are_rounded_up_and_ages_down() {
        assert_eq!(duration(27), "27 s");
        assert_eq!(duration(121), "3 minutes");
        assert_eq!(duration(300), "5 minutes");
        assert_eq!(duration(86_400), "24 hours");
        assert_eq!(duration(172_801), "3 days");
        assert_eq!(ago(1000, 1003), "just now");
        assert_eq!(ago(1000, 1239), "3 minutes ago");
        assert_eq!(ago(1000, 1000 + 7300), "2 hours ago");
        assert_eq!(ago(1000, 1000 + 400 * DAY), "400 days ago");
        assert_eq!(ago(1001, 1000), "in the future");
    }

    #[test]
    fn times_are_written_as_iso_8601() {
        assert_eq!(iso8601(0), "1970-01-01T00:00:00Z");
        assert_eq!(iso8601(951_782_400), "2000-02-29T00:00:00Z");
        assert_eq!(iso8601(1_111_111_109), "2005-03-18T01:58:29Z");
        assert_eq!(iso8601(4_107_542_399), "2100-02-28T23:59:59Z");
        assert_eq!(iso8601(4_107_542_400), "2100-03-01T00:00:00Z");
    }

    #[test]
    fn moments_are_read_as_they_are_written() {
        for moment in [0, 951_782_400, 1_111_111_109, 4_107_542_399, 4_107_542_400] {
            assert_eq!(parse_moment(&iso8601(moment)), Some(moment));
        }
        assert_eq!(parse_moment("2005-03-18"), Some(1_111_104_000));
        assert_eq!(parse_moment("2005-03-18T01:58"), Some(1_111_111_080));
        assert_eq!(parse_moment("2005-03-18 01:58:29"), Some(1_111_111_109));
        for wrong in [
            "",
            "2005",
            "2005-3-18",
            "2005-00-01",
            "2005-13-01",
            "2005-02-29",
            "2005-01-00",
            "2005-01-32",
            "1969-12-31",
            "2005-01-01T",
            "2005-01-01T24:00",
            "2005-01-01T10:60",
            "2005-01-01T10",
            "2005-01-01T10:00:00:00",
            "+005-01-01",
            "2005-01-01T10:00+01:00",
        ] {
            assert_eq!(parse_moment(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn durations_are_read_as_people_type_them() {
        assert_eq!(parse_duration("24h"), Some(DAY));
        assert_eq!(parse_duration("1h30m"), Some(5400));
        assert_eq!(parse_duration("90s"), Some(90));
        assert_eq!(parse_duration("2d"), Some(2 * DAY));
        for wrong in ["", "24", "h", "-1h", "1w", "0h", "1h 2m", "99999999999999999999d", "9999999999999999d"] {
            assert_eq!(parse_duration(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn counts_have_their_thousands_apart() {
        assert_eq!(count(0), "0");
        assert_eq!(count(999), "999");
        assert_eq!(count(12_500), "12,500");
        assert_eq!(count(1_000_000), "1,000,000");
        assert_eq!(many(1, "line"), "1 line");
        assert_eq!(many(2, "line"), "2 lines");
    }

    #[test]
    fn a_command_is_left_whole_on_a_line_of_its_own() {
        let text = "The lock lifts by itself. Sooner: sudo countersign unlock ann";
        assert_eq!(wrap_before_command(text, 80, "  "), text);
        assert_eq!(
            wrap_before_command(text, 30, "  "),
            "The lock lifts by itself.\n  Sooner:\n  sudo countersign unlock ann"
        );
        assert_eq!(wrap_before_command("in short: no command", 12, ""), "in short: no\ncommand");
    }

    #[test]
    fn text_is_wrapped_at_spaces_and_long_words_are_left_whole() {
        assert_eq!(wrap("one two three", 7, "  "), "one two\n  three");
        assert_eq!(wrap("abcdefghij k", 5, ""), "abcdefghij\nk");
        assert_eq!(wrap("", 5, ""), "");
    }
}
